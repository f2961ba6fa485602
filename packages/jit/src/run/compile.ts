import { writeFile } from "node:fs/promises";
import { AlignTokError, check, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { type Graph, printGraph } from "../graph/graph.ts";
import { lowerToOnnx } from "../onnx/lower.ts";
import { optimize } from "../passes/index.ts";
import { refuseNesting, trace } from "../trace/trace.ts";
import {
  isArrayLeaf,
  type MapTree,
  mapTree,
  type TensorSpec,
  type Tree,
  visitTree,
} from "../tree.ts";
import { type EngineName, requireEngine } from "./engines.ts";
import { createOnnxSession } from "./onnx-session.ts";
import { createReferenceSession } from "./reference-session.ts";

export interface CompileOptions {
  /** What runs the graph. @default "onnxruntime" */
  readonly engine?: EngineName;
  /** Threads within an operation. @default as many as the machine has cores */
  readonly threads?: number;
}

export interface RunOptions {
  /** Arrays to be filled in place of new ones: any part of the tree of outputs. They may be views into a larger array. */
  readonly into?: unknown;
}

/** A traced, optimised and loaded function. */
export interface Compiled<In, Out> {
  /**
   * Computes the outputs. Inputs may be views into a larger array and are not copied.
   *
   * @throws AlignTokError `bad-input` when an input is missing, superfluous, or not of the compiled shape and
   * type, when `into` does not match the outputs, and after `dispose`.
   */
  run(inputs: In, options?: RunOptions): Promise<Out>;
  /** The optimised graph; `String(graph)` prints it. */
  readonly graph: Graph & { toString(): string };
  /** Writes the graph as an ONNX file, which netron.app shows. */
  save(path: string): Promise<void>;
  /** Releases the engine's memory. A second call does nothing. */
  dispose(): void;
}

/** What sessions of every engine can do: run on named arrays. */
export interface Session {
  run(
    feeds: ReadonlyMap<string, NdArray>,
    into: ReadonlyMap<string, NdArray>,
  ): Promise<ReadonlyMap<string, NdArray>>;
  dispose(): void;
}

/**
 * Traces a pure function on tfjs tensors, gradients included, and compiles it for an engine.
 *
 * `fn` is called once, synchronously, with tensors that have a shape and no values. What it does beside
 * calling tfjs happens once, too: a loop is unrolled, and `tf.randomNormal` becomes a constant. Pass in
 * whatever should differ between runs. (The reference engine calls `fn` again at each run.)
 *
 * @param fn a function of one tree of tensors to a tree of tensors
 * @param inputSpec the shape and type of every input: `spec(...)`, or `specOf(arrays)`
 * @throws AlignTokError `unsupported` for an operation or gradient that a trace cannot hold, with the line
 * of `fn` that needs it; `unavailable` for an engine that is not installed; `bad-input` when `fn` is async,
 * uses tensors made outside, reads values, or calls `compile`.
 */
export async function compile<S, Out>(
  fn: (inputs: MapTree<S, TensorSpec, Tensor>) => Out,
  inputSpec: S,
  options: CompileOptions = {},
): Promise<Compiled<MapTree<S, TensorSpec, NdArray>, MapTree<Out, Tensor, NdArray<"float32">>>> {
  refuseNesting();
  const engine = await requireEngine(options.engine ?? "onnxruntime");
  const { graph: traced, outputNames } = trace(
    fn as (inputs: never) => unknown,
    inputSpec as Tree<TensorSpec>,
  );
  const graph = optimize(traced);
  const session: Session =
    engine === "reference"
      ? createReferenceSession(fn as (inputs: never) => unknown, inputSpec as Tree<TensorSpec>)
      : await createOnnxSession(lowerToOnnx(graph), graph, options);
  const isName = (x: unknown): x is string => typeof x === "string";
  let disposed = false;

  return {
    graph: Object.assign(Object.create({ toString: () => printGraph(graph) }), graph),
    async run(inputs, { into } = {}) {
      check(!disposed, "run: the compiled function has been disposed. compile it again");
      const feeds = matchInputs(graph, inputs);
      const targets = new Map<string, NdArray>();
      if (into !== undefined) {
        visitTree(into, isArrayLeaf, (array, path) => targets.set(`out:${path}`, array as NdArray));
        checkTargets(graph, targets);
      }
      const outputs = await session.run(feeds, targets);
      return mapTree(outputNames, isName, (name) => outputs.get(name)!) as never;
    },
    save: (path) => writeFile(path, lowerToOnnx(graph)),
    dispose() {
      if (!disposed) session.dispose();
      disposed = true;
    },
  };
}

function matchInputs(graph: Graph, inputs: unknown): Map<string, NdArray> {
  const feeds = new Map<string, NdArray>();
  visitTree(inputs, isArrayLeaf, (array, path) => feeds.set(path || "input", array as NdArray));
  for (const { name, value } of graph.inputs) {
    const array = feeds.get(name);
    if (array?.dtype === value.dtype && array.shape.join() === value.shape.join()) continue;
    const got = array ? `${array.dtype} [${array.shape}]` : "nothing";
    throw new AlignTokError(
      "bad-input",
      `input ${name}: expected ${value.dtype} [${value.shape}], got ${got}`,
    );
  }
  if (feeds.size !== graph.inputs.length) {
    const known = new Set(graph.inputs.map(({ name }) => name));
    const extra = [...feeds.keys()].find((name) => !known.has(name));
    throw new AlignTokError("bad-input", `input ${extra}: the function was compiled without it`);
  }
  return feeds;
}

function checkTargets(graph: Graph, targets: ReadonlyMap<string, NdArray>): void {
  const outputs = new Map(graph.outputs.map(({ name, value }) => [name, value]));
  for (const [name, array] of targets) {
    const value = outputs.get(name);
    if (value?.dtype === array.dtype && value.shape.join() === array.shape.join()) continue;
    const wanted = value ? `${value.dtype} [${value.shape}]` : "no such output";
    throw new AlignTokError(
      "bad-input",
      `into ${name.slice(4)}: expected ${wanted}, got ${array.dtype} [${array.shape}]`,
    );
  }
}
