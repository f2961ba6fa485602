import { attributesAsText, CONSTANT, type Graph, rewrite, type Value } from "../graph/graph.ts";

/**
 * Computes equal expressions once. It is what makes several `valueAndGrad` over one forward pass (the
 * adaptive GAN weight) cost one forward pass.
 */
export function shareSubexpressions(graph: Graph): Graph {
  const ids = new Map<Value, number>();
  const idOf = (value: Value | undefined) => {
    if (!value) return -1;
    const id = ids.get(value) ?? ids.size;
    ids.set(value, id);
    return id;
  };
  const seen = new Map<string, readonly Value[]>();
  return rewrite(graph, (node) => {
    // Large constants are never equal in practice, and slow to compare.
    if (node.op === CONSTANT && (node.attributes.data as Float32Array).length > 64)
      return undefined;
    const key = [
      node.op,
      node.inputs.map(idOf).join(),
      attributesAsText(node.attributes, (data) => Array.from(data, String)),
      node.outputs.map(({ shape, dtype }) => `${dtype}${shape}`).join(";"),
    ].join("|");
    const earlier = seen.get(key);
    if (!earlier) seen.set(key, node.outputs);
    return earlier;
  });
}
