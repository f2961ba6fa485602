/** Where a computation first leaves the finite numbers: for losses that are NaN. */
import { listSome, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { FILL, type Graph, type Node, printGraph, type Value } from "../graph/graph.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { optimize } from "../passes/index.ts";
import { callerOf } from "../trace/explain.ts";
import { trace } from "../trace/trace.ts";
import { type MapTree, specOf } from "../tree.ts";
import { matchInputs } from "./arguments.ts";
import { createOnnxSession } from "./onnx-session.ts";

/** The first tensor that holds NaN or an infinity. */
export interface NonFinite {
  /** The operation that made it of finite numbers; "input" where it was given. */
  readonly op: string;
  readonly shape: readonly number[];
  /** As in the printed graph: `%3 float32[2] = Log(%1)`. */
  readonly node: string;
  /** The line of the function that called it, where it is known. */
  readonly caller?: string;
  /** All of it in a sentence, with how many values are not finite and the ranges of the operands. */
  readonly message: string;
}

/**
 * Computes a function once and looks at every tensor on the way, in the order in which the engine computes them.
 * For a step whose result was not finite: slow, and it holds more in memory than the step itself.
 *
 * @param fn as for `compile`
 * @param inputs what the function was given, bound inputs among them
 * @returns undefined where all is finite
 */
export async function findNonFinite<In, Out>(
  fn: (inputs: MapTree<In, NdArray, Tensor>) => Out,
  inputs: In,
): Promise<NonFinite | undefined> {
  const callers = new Map<Value, Error>();
  const traced = trace(fn as (inputs: never) => unknown, specOf(inputs) as never, { callers });
  const graph = optimize(traced.graph);
  const feeds = matchInputs(graph, inputs);
  for (const { name, value } of graph.inputs) {
    const found = feeds.get(name)!;
    if (allFinite(found)) continue;
    const node = `input ${name}`;
    return { op: "input", shape: value.shape, node, message: `${node}: ${describe(found)}` };
  }

  const culprit = await findCulprit(graph, feeds);
  if (!culprit) return undefined;
  const { node, output } = culprit;
  const operands = [...new Set(node.inputs.filter((value) => value !== undefined))];
  const [made, ...given] = await compute(graph, [output, ...operands], feeds);
  const line = printGraph(graph).split("\n")[graph.inputs.length + graph.nodes.indexOf(node)]!;
  const stack = callers.get(output)?.stack;
  const caller = stack && callerOf(stack);
  const ranges = given.map((array) => describe(array));
  const where = caller ? `, called ${caller}` : "";
  return {
    op: node.op,
    shape: output.shape,
    node: line,
    ...(caller && { caller }),
    message: `${line}${where}: ${describe(made!)}; operands: ${listSome(ranges) || "none"}`,
  };
}

/** The first node in order whose output is not finite. */
async function findCulprit(graph: Graph, feeds: ReadonlyMap<string, NdArray>) {
  const zero: Value = { shape: [], dtype: "float32" };
  const nodes: Node[] = [{ op: FILL, inputs: [], attributes: { value: 0 }, outputs: [zero] }];
  const probes: { readonly node: Node; readonly output: Value; readonly probe: Value }[] = [];
  for (const node of graph.nodes) {
    nodes.push(node);
    for (const output of node.outputs) {
      if (output.dtype !== "float32") continue;
      // 0 where all are finite: NaN and infinities times zero are NaN
      const products: Value = { shape: output.shape, dtype: "float32" };
      const probe: Value = { shape: [], dtype: "float32" };
      const axes = output.shape.map((_, axis) => axis);
      nodes.push(
        { op: "Multiply", inputs: [output, zero], attributes: {}, outputs: [products] },
        { op: "Sum", inputs: [products], attributes: { axes, keepDims: false }, outputs: [probe] },
      );
      probes.push({ node, output, probe });
    }
  }
  const values = probes.map(({ probe }) => probe);
  const sums = await compute({ ...graph, nodes }, values, feeds);
  return probes.find((_, i) => !allFinite(sums[i]!));
}

/** These values of a graph. */
async function compute(
  graph: Graph,
  values: readonly Value[],
  feeds: ReadonlyMap<string, NdArray>,
): Promise<readonly NdArray[]> {
  const outputs = values.map((value, i) => ({ name: `value ${i}`, value }));
  const session = await createOnnxSession({ graph: removeDeadCode({ ...graph, outputs }) }, {});
  try {
    const results = await session.run(feeds, new Map());
    return outputs.map(({ name }) => results.get(name)!);
  } finally {
    session.dispose();
  }
}

function allFinite({ data }: NdArray): boolean {
  return (data as Float32Array).every(Number.isFinite);
}

/** `float32 [2]: 1 NaN, 0 infinite, others from -1 to 3`. */
function describe({ dtype, shape, data }: NdArray): string {
  let [nan, infinite, least, most] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of data as Float32Array) {
    if (Number.isNaN(value)) nan++;
    else if (!Number.isFinite(value)) infinite++;
    else {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  const counts = nan + infinite > 0 ? ` ${nan} NaN, ${infinite} infinite, others` : "";
  const range = most >= least ? `from ${least} to ${most}` : "none";
  return `${dtype} [${shape}]${counts} ${range}`;
}
