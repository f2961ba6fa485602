import { AlignTokError } from "@aligntok/core";
import { engine, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { CONSTANT, FILL, type Graph, type Node, type Value } from "../graph/graph.ts";
import { isArrayLeaf, isTensor, mapTree, type TensorSpec, type Tree, visitTree } from "../tree.ts";
import { TRACE_BACKEND, traceBackend } from "./backend.ts";
import "./kernels.ts";

/** A recorded function: its graph, and its outputs as a tree of the names they have in the graph. */
export interface Trace {
  readonly graph: Graph;
  readonly outputNames: Tree<string>;
}

/**
 * Runs `fn` once on symbolic tensors and records every tfjs kernel that it calls, its gradients included.
 *
 * @throws AlignTokError `unsupported` for a kernel that the graph does not know, with the line of `fn` that called it.
 */
export function trace(fn: (inputs: never) => unknown, inputSpecs: Tree<TensorSpec>): Trace {
  if (traceBackend.recording) {
    throw new AlignTokError(
      "bad-input",
      "compile: called inside a traced function. call the inner function directly",
    );
  }
  const nodes: Node[] = [];
  const inputs: { name: string; value: Value }[] = [];
  const outputs: { name: string; value: Value }[] = [];
  const tf = engine();
  const previous = tf.backendName;
  traceBackend.recording = nodes;
  // Synchronous up to its first await, which lies behind the switch: tfjs has no synchronous form.
  void tf.setBackend(TRACE_BACKEND);
  try {
    return tidy(() => {
      const tensors = mapTree(inputSpecs, isArrayLeaf, ({ shape, dtype }, path) => {
        const value = { shape: [...shape], dtype: dtype as Value["dtype"] };
        inputs.push({ name: path || "input", value });
        return tf.makeTensorFromDataId(value, value.shape, value.dtype, traceBackend);
      });
      const result = fn(tensors as never);
      const outputNames = mapTree(result, isTensor, (tensor, path) => {
        const name = `out:${path}`;
        outputs.push({ name, value: valueOf(tensor) });
        return name;
      });
      return { graph: { inputs, outputs, nodes }, outputNames } as never as Tensor;
    }) as never as Trace;
  } catch (error) {
    throw explain(error);
  } finally {
    traceBackend.recording = undefined;
    if (previous && previous !== TRACE_BACKEND) void tf.setBackend(previous);
  }
}

function valueOf(tensor: Tensor): Value {
  return tensor.dataId as unknown as Value;
}

/** tfjs reports a missing kernel or gradient by an Error: say which, and where in the caller's code. */
function explain(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const kernel = /Cannot find registered kernel '([^']+)'/.exec(error.message)?.[1];
  const gradient = /gradient function not found for (\w+)/.exec(error.message)?.[1];
  if (!kernel && !gradient) return error;
  const where = callerOf(error.stack ?? "");
  return new AlignTokError(
    "unsupported",
    kernel
      ? `operation ${kernel}: not supported in compiled functions, called ${where}. write it with supported operations, or report it`
      : `gradient of ${gradient}: not available, needed by valueAndGrad ${where}. use stopGradient, or other operations`,
    { cause: error },
  );
}

/** The first line of a stack that is neither tfjs's nor ours. */
function callerOf(stack: string): string {
  const frame = stack
    .split("\n")
    .slice(1)
    .find(
      (line) =>
        !/node_modules\/@tensorflow\/|node:internal|\/jit\/(src|dist)\/|<anonymous>\)?$/.test(line),
    );
  return frame ? `at ${frame.trim().replace(/^at /, "")}` : "in the traced function";
}

/** Number of nodes that compute something, for messages and tests. */
export function countOperations(graph: Graph): number {
  return graph.nodes.filter(({ op }) => op !== FILL && op !== CONSTANT).length;
}

export { visitTree };
