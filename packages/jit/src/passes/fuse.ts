import { sizeOf } from "@aligntok/core";
import {
  countUses,
  FILL,
  type Graph,
  type Node,
  producersOf,
  rewrite,
  type Value,
} from "../graph/graph.ts";

/** Joins operations that an engine can do in one pass over the memory. */
export function fuse(graph: Graph): Graph {
  const uses = countUses(graph);
  const producers = producersOf(graph.nodes);
  // Only a value that nobody else takes may disappear into its consumer.
  const only = (value: Value | undefined, op: string) => {
    const producer = value && uses.get(value) === 1 ? producers.get(value) : undefined;
    return producer?.op === op ? producer : undefined;
  };
  return rewrite(graph, (node, emit) => {
    // The node as rewritten so far: what it takes may itself have been fused.
    for (const output of node.outputs) producers.set(output, node);
    const made =
      scaledProduct(node, only, producers) ??
      productOfTransposed(node, producers) ??
      sumOfSquares(node, only);
    if (!made) return undefined;
    emit(made);
    // The new value takes over the old one's uses, for fusions further on.
    made.outputs.forEach((output, i) => {
      uses.set(output, uses.get(node.outputs[i]!) ?? 0);
      producers.set(output, made);
    });
    return made.outputs;
  });
}

type Only = (value: Value | undefined, op: string) => Node | undefined;

/** (a b) * number: matrix products of float32 scale for free. */
function scaledProduct(node: Node, only: Only, producers: Map<Value, Node>): Node | undefined {
  if (node.op !== "Multiply" || node.outputs[0]!.dtype !== "float32") return undefined;
  for (const [x, factor] of [node.inputs, node.inputs.toReversed()]) {
    const fill = factor && producers.get(factor);
    const product = only(x, "BatchMatMul");
    if (fill?.op !== FILL || sizeOf(factor!.shape) !== 1 || !product) continue;
    // A number of higher rank, such as [1, 1, 1], also adds dimensions: left alone.
    if (product.outputs[0]!.shape.join() !== node.outputs[0]!.shape.join()) continue;
    const alpha =
      ((product.attributes.alpha as number | undefined) ?? 1) * (fill.attributes.value as number);
    return {
      ...product,
      attributes: { ...product.attributes, alpha },
      outputs: [{ ...node.outputs[0]! }],
    };
  }
  return undefined;
}

/** a^T b: matrix products read a transposed operand as it is. */
function productOfTransposed(node: Node, producers: Map<Value, Node>): Node | undefined {
  if (node.op !== "BatchMatMul") return undefined;
  const inputs = [...node.inputs];
  const flags = [node.attributes.transposeA === true, node.attributes.transposeB === true];
  for (const [i, input] of inputs.entries()) {
    const move = input && producers.get(input);
    if (move?.op !== "Transpose" || !swapsLastTwo(move.attributes.perm as number[])) continue;
    inputs[i] = move.inputs[0];
    flags[i] = !flags[i];
  }
  if (inputs.every((input, i) => input === node.inputs[i])) return undefined;
  return {
    ...node,
    inputs,
    attributes: { ...node.attributes, transposeA: flags[0], transposeB: flags[1] },
    outputs: [{ ...node.outputs[0]! }],
  };
}

function swapsLastTwo(perm: readonly number[]): boolean {
  const last = perm.length - 1;
  return perm.every((from, to) => from === (to < last - 1 ? to : 2 * last - 1 - to));
}

/** sum(x^2), without a copy of x^2. */
function sumOfSquares(node: Node, only: Only): Node | undefined {
  const square = node.op === "Sum" ? only(node.inputs[0], "Square") : undefined;
  return (
    square && {
      ...node,
      op: "SumSquare",
      inputs: square.inputs,
      outputs: [{ ...node.outputs[0]! }],
    }
  );
}
