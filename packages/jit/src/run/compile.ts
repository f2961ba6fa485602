import { writeFile } from "node:fs/promises";
import { check, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { type Graph, printGraph } from "../graph/graph.ts";
import { lowerToOnnx } from "../onnx/lower.ts";
import { type MapTree, mapTree, type TensorSpec } from "../tree.ts";
import { matchInputs, matchTargets } from "./arguments.ts";
import type { BoundInputs, NoInputs } from "./bound-inputs.ts";
import type { EngineName } from "./engines.ts";
import { createOnnxSession } from "./onnx-session.ts";
import type { Precision } from "./precision.ts";
import { prepare } from "./prepare.ts";
import { createReferenceSession } from "./reference-session.ts";
import type { SessionFactory, SessionOptions } from "./session.ts";
import { createTensorFlowSession } from "./tensorflow-session.ts";
import { createTurns } from "./turns.ts";

/** What runs a graph, and how: what packages with graphs of their own take from their callers. */
export interface EngineOptions extends SessionOptions {
  /** See `engines()` for what there is. @default "onnxruntime" */
  readonly engine?: EngineName;
}

export interface CompileOptions<Bound extends BoundInputs = NoInputs> extends EngineOptions {
  /**
   * Inputs that are known now and never change, such as `{ params }` at inference, which the spec leaves
   * out and runs are not given. They are not copied, so functions compiled for several shapes can share
   * them; float16 and other real types are converted to float32, once. @default none
   */
  readonly bind?: Bound;
  /**
   * `int8`, for inference on ONNX Runtime: linear layers with bound weights multiply 8-bit whole numbers, with one
   * scale a row of what they take and one an output channel of the weights. `bfloat16`, on TensorFlow: matrix products
   * and convolutions multiply numbers of 8 bits precision, which are float32 before and after. @default "float32"
   */
  readonly precision?: Precision;
}

export interface RunOptions {
  /** Arrays to be filled in place of new ones: any part of the tree of outputs. They may be views into a larger array. */
  readonly into?: unknown;
  /**
   * Rejects with the signal's reason, before a run begins or, in a worker thread, at once: its result is dropped then,
   * `into` is left alone, and the function can be called again.
   */
  readonly signal?: AbortSignal;
}

/** A traced, optimised and loaded function. */
export interface Compiled<In, Out> {
  /**
   * Computes the outputs. Inputs may be views into a larger array and are not copied, so they must not change
   * until the promise settles. Calls while another is under way wait for their turn.
   *
   * Types say float32 of every output, for the type of a tensor in tfjs does not tell that of its elements. One of whole
   * numbers or truth values (`tf.argMax`, a comparison) has the `dtype` int32 or bool, and an Int32Array or a Uint8Array
   * of 0 and 1 as `data`: read it as `output as NdArray as NdArray<"int32">`.
   *
   * @throws AlignTokError `bad-input` when an input is missing, superfluous, or not of the compiled shape and
   * type, when `into` does not match the outputs, and after `dispose`; the reason of `signal`.
   */
  run(inputs: In, options?: RunOptions): Promise<Out>;
  /** The optimised graph; `String(graph)` prints it. */
  readonly graph: Graph & { toString(): string };
  /** Writes the graph as an ONNX file, which netron.app shows. */
  save(path: string): Promise<void>;
  /** Releases the engine's memory once the runs asked for have ended. A second call does nothing. */
  dispose(): void;
}

const sessionFactories: Readonly<Record<EngineName, SessionFactory>> = {
  onnxruntime: createOnnxSession,
  tensorflow: createTensorFlowSession,
  reference: createReferenceSession,
};

/**
 * Traces a pure function on tfjs tensors, gradients included, and compiles it for an engine.
 *
 * `fn` is called once, synchronously, with tensors that have a shape and no values. What it does beside
 * calling tfjs happens once, too: a loop is unrolled, and `tf.randomNormal` becomes a constant. Pass in
 * whatever should differ between runs. (The reference engine calls `fn` again at each run.)
 *
 * @param fn a function of one tree of tensors to a tree of tensors
 * @param inputSpec the shape and type of every input that is not bound: `spec(...)`, or `specOf(arrays)`
 * @throws AlignTokError `unsupported` for an operation or gradient that a trace cannot hold, with the line
 * of `fn` that needs it; `unavailable` for an engine that is not installed; `bad-input` when `fn` is async,
 * uses tensors made outside, reads values, or calls `compile`.
 */
export async function compile<S, Out, Bound extends BoundInputs = NoInputs>(
  fn: (inputs: MapTree<S, TensorSpec, Tensor> & MapTree<Bound, NdArray, Tensor>) => Out,
  inputSpec: S,
  options: CompileOptions<Bound> = {},
): Promise<Compiled<MapTree<S, TensorSpec, NdArray>, MapTree<Out, Tensor, NdArray<"float32">>>> {
  const program = await prepare(fn, inputSpec, options as CompileOptions);
  const { graph, outputNames } = program;
  const session = await sessionFactories[program.engine](program, options);
  const isName = (x: unknown): x is string => typeof x === "string";
  let disposed = false;
  const turns = createTurns();

  return {
    graph: Object.assign(Object.create({ toString: () => printGraph(graph) }), graph),
    async run(inputs, { into, signal } = {}) {
      check(!disposed, "run: the compiled function has been disposed. compile it again");
      signal?.throwIfAborted();
      const feeds = matchInputs(graph, inputs);
      const targets = matchTargets(graph, into);
      const outputs = await turns.inTurn(signal, () => session.run(feeds, targets, signal));
      return mapTree(outputNames, isName, (name) => outputs.get(name)!) as never;
    },
    save: (path) => writeFile(path, lowerToOnnx(graph)),
    dispose() {
      if (disposed) return;
      disposed = true;
      void turns
        .idle()
        .then(session.dispose)
        .catch(() => {}); // see Session.dispose
    },
  };
}
