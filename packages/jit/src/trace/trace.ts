import { AlignTokError, type NdArray } from "@aligntok/core";
import { engine, tidy } from "@tensorflow/tfjs-core";
import type { Graph, GraphInput, Node, Value } from "../graph/graph.ts";
import { isArrayLeaf, isTensor, mapTree, type TensorSpec, type Tree } from "../tree.ts";
import { deactivateTracing, TRACE_BACKEND, traceBackend } from "./backend.ts";
import { explain } from "./explain.ts";
import "./kernels/index.ts";

/** A recorded function: its graph, and its outputs as a tree of the names they have in the graph. */
export interface Trace {
  readonly graph: Graph;
  readonly outputNames: Tree<string>;
}

export interface TraceOptions {
  /** To be filled: for each value an error that was made where it was recorded. @default not kept */
  readonly callers?: Map<Value, Error>;
}

/**
 * Runs `fn` once on symbolic tensors and records every tfjs kernel that it calls, its gradients included.
 * Arrays among the inputs are bound: what they hold is an input of the graph, too, with its array.
 * Synchronous from beginning to end, so that traces never interleave; leaves tfjs as it found it.
 *
 * @throws AlignTokError `unsupported` for a kernel that the graph does not know, with the line of `fn` that called it.
 */
export function trace(
  fn: (inputs: never) => unknown,
  inputSpecs: Tree<TensorSpec | NdArray>,
  { callers }: TraceOptions = {},
): Trace {
  refuseNesting();
  const nodes: Node[] = [];
  const values = new Map<object, number>();
  const inputs: GraphInput[] = [];
  const outputs: { name: string; value: Value }[] = [];
  let outputNames: Tree<string> = [];

  const tf = engine();
  const previous = tf.backendName;
  const previousLimit = Error.stackTraceLimit;
  // A frame of the caller lies below those of tfjs, which are often more than the usual ten.
  Error.stackTraceLimit = 100;
  traceBackend.recording = { nodes, values, callers };
  // Synchronous up to its first await, which lies behind the switch: tfjs has no synchronous form.
  void tf.setBackend(TRACE_BACKEND);
  try {
    tidy(() => {
      const tensors = mapTree(inputSpecs, isArrayLeaf, (leaf, path) => {
        const value = { shape: [...leaf.shape], dtype: leaf.dtype as Value["dtype"] };
        inputs.push({ name: path || "input", value, array: "data" in leaf ? leaf : undefined });
        values.set(value, 1);
        return tf.makeTensorFromDataId(value, value.shape, value.dtype, traceBackend);
      });
      const result = fn(tensors as never);
      if (result instanceof Promise) {
        result.catch(() => {}); // what it does without a trace is of no interest
        throw new AlignTokError(
          "bad-input",
          "traced function: expected tensors, got a promise. it must not be async: pass in what it waits for",
        );
      }
      outputNames = mapTree(result, isTensor, (tensor, path) => {
        const what = `output${path && ` ${path}`}`;
        const name = `out:${path}`;
        outputs.push({ name, value: traceBackend.recordedValue(tensor.dataId, what) });
        return name;
      });
    });
    return { graph: { inputs, outputs, nodes }, outputNames };
  } catch (error) {
    throw explain(error);
  } finally {
    Error.stackTraceLimit = previousLimit;
    traceBackend.recording = undefined;
    if (previous && previous !== TRACE_BACKEND) void tf.setBackend(previous);
    else deactivateTracing();
  }
}

/** @throws AlignTokError `bad-input` within a traced function. */
export function refuseNesting(): void {
  if (!traceBackend.recording) return;
  throw new AlignTokError(
    "bad-input",
    "compile: called inside a traced function. call the inner function directly",
  );
}
