import type { Graph, Node, Value } from "../graph/graph.ts";

/**
 * The nodes in an order that makes ONNX Runtime compute each gradient as soon as it can, which lets go of the
 * activations that it needs: half the memory of a training step.
 *
 * ONNX Runtime orders nodes itself. It starts from the last node of the file whose results no other node takes,
 * computes all that this one needs, and goes on to the last but one. Written as recorded, the last of them is the
 * gradient of the first layer, which needs the whole backward pass, and every other weight gradient would wait with
 * all of its activations. So those nodes go to the end of the file, the first to be ready last.
 */
export function schedule({ nodes }: Graph): readonly Node[] {
  const taken = new Set<Value | undefined>(nodes.flatMap(({ inputs }) => inputs));
  const isLeaf = (node: Node) => !node.outputs.some((output) => taken.has(output));
  return [...nodes.filter((node) => !isLeaf(node)), ...nodes.filter(isLeaf).reverse()];
}
