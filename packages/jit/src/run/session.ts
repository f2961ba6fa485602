import type { NdArray } from "@aligntok/core";
import type { Graph } from "../graph/graph.ts";
import type { TensorSpec, Tree } from "../tree.ts";
import type { DeviceName } from "./devices.ts";
import type { Precision } from "./precision.ts";

/** What an engine is given to run: the optimised graph, and the function that it was traced from. */
export interface Program {
  readonly graph: Graph;
  readonly fn: (inputs: never) => unknown;
  /** All inputs of `fn`: specs of those that a run is given, arrays that are bound. */
  readonly inputs: Tree<TensorSpec | NdArray>;
  readonly precision: Precision;
}

/** What sessions of every engine can do: run on arrays under the names that the graph gives them. */
export interface Session {
  /** `feeds` are the inputs of the graph that are not bound. Never called before the call before it has settled. Arrays of `into` are filled, and given back. */
  run(
    feeds: ReadonlyMap<string, NdArray>,
    into: ReadonlyMap<string, NdArray>,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, NdArray>>;
  /**
   * Called once, and never while a run is under way. What it throws is dropped: the caller has its results and has
   * gone on, so nobody could act on it, and an error that nobody catches would end the process. What is lost is memory.
   */
  dispose(): void;
}

/** Loads a program into an engine. */
export type SessionFactory = (program: Program, options: SessionOptions) => Promise<Session>;

/** The part of `CompileOptions` that is the engine's to heed, or to refuse. */
export interface SessionOptions {
  /** Threads within an operation, 1 or more. @default as many as the machine has cores */
  readonly threads?: number;
  /**
   * Where ONNX Runtime runs the graph. One that does not work here is an error; see `devices` in the reports of
   * `engines()`. Single operations for which it has no kernel on the device run on the processor. @default "cpu"
   */
  readonly device?: DeviceName;
  /**
   * Runs in a worker thread, which leaves this one free meanwhile: timers fire, files are read, Ctrl-C is seen.
   * Inputs are copied for it, outputs only where they have a target. @default false
   */
  readonly worker?: boolean;
  /**
   * A folder in which ONNX Runtime's optimised graphs are kept, so that the next process loads them in a quarter of
   * the time. Processes may share it; up to 256 MB of what was used last stay. A graph with weights that are mapped
   * from a file, or of more than 64 MB, is not kept. @default none
   */
  readonly cache?: string;
}
