/** What is measured: a computation of a fixed size that can be run again and again. */
import type { EngineName } from "@aligntok/jit";

export interface BenchCase {
  /** Names the case here and in the peer's script. */
  readonly name: string;
  /** What one run computes, for people. */
  readonly what: string;
  /** What it is part of: features of encoders, models that are trained and what they generate, steps at the paper's size. */
  readonly family: "machine" | "encoders" | "train" | "paper";
  /** Speed that is asked for, as the peer's time over ours. @default none is */
  readonly bar?: number;
  /** The same of transformers.js, which races where this is given. @default it does not */
  readonly transformersJsBar?: number;
  /** Whether no peer computes the same. @default false */
  readonly alone?: boolean;
  /** Whether peers start when ours has ended, for want of memory. @default false: they take turns */
  readonly apart?: boolean;
  /**
   * 10^9 floating-point operations of a run, those of matrix products and convolutions, as PyTorch's FlopCounterMode
   * counts them. It belongs to the case, not to how an engine computes it. @default unknown: mostly other work
   */
  readonly gflop?: number;
  /** The engines that can run it. @default all */
  readonly engines?: readonly EngineName[];
  /** Why it cannot be measured here, if so. @default it can */
  reasonToSkip?(): string | undefined;
  /** Writes what the contestants work with into a folder that the cases share; gives the path that they are told. @default nothing */
  writePlan?(folder: string): Promise<string>;
  prepare(engine: EngineOptions): Promise<Prepared>;
}

/** A case with its weights, inputs and compiled graphs. */
export interface Prepared {
  /** Elements of the weights that the case uses, or of those it trains. */
  readonly parameters: number;
  /** Milliseconds that tracing and loading took. @default 0: the first run does it */
  readonly compileMs?: number;
  /** File of float32 numbers that the peers' must equal. @default none */
  readonly features?: string;
  /** Peak resident memory in MB, where the work is done by another process. @default this one's */
  rssMb?(): number;
  run(): Promise<unknown>;
}

/** Parts of all cases: those with a bar that take seconds, or a family. */
export const suites = ["engine", "encoders", "train", "paper", "all"] as const;
export type Suite = (typeof suites)[number];

export interface EngineOptions {
  readonly engine: EngineName;
  readonly threads: number;
}
