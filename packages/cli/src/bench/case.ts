/** What is measured: a computation of a fixed size that can be run again and again. */
import type { EngineName } from "@aligntok/jit";

export interface BenchCase {
  /** Names the case here and in the peer's script. */
  readonly name: string;
  /** What one run computes, for people. */
  readonly what: string;
  /** What it is part of: features of encoders, or models that are trained and what they generate. */
  readonly family: "machine" | "encoders" | "train";
  /** Speed that is asked for, as the peer's time over ours. @default none is */
  readonly bar?: number;
  /**
   * 10^9 floating-point operations of a run, those of matrix products and convolutions, as PyTorch's FlopCounterMode
   * counts them. It belongs to the case, not to how an engine computes it. @default unknown: mostly other work
   */
  readonly gflop?: number;
  /** The engines that can run it. @default all */
  readonly engines?: readonly EngineName[];
  prepare(engine: EngineOptions): Promise<Prepared>;
}

/** A case with its weights, inputs and compiled graphs. */
export interface Prepared {
  /** Elements of the weights that the case uses, or of those it trains. */
  readonly parameters: number;
  /** Milliseconds that tracing and loading took. @default 0: the first run does it */
  readonly compileMs?: number;
  run(): Promise<unknown>;
}

/** Parts of all cases: those with a bar, or a family. */
export const suites = ["engine", "encoders", "train", "all"] as const;
export type Suite = (typeof suites)[number];

export interface EngineOptions {
  readonly engine: EngineName;
  readonly threads: number;
}
