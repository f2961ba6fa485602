import type { Graph, Node, Value } from "../graph/graph.ts";

/** Drops every node that no output needs, and bound inputs likewise; others are for the caller to give. */
export function removeDeadCode(graph: Graph): Graph {
  const needed = new Set<Value>(graph.outputs.map(({ value }) => value));
  const kept: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    for (const input of node.inputs) if (input) needed.add(input);
    kept.push(node);
  }
  const inputs = graph.inputs.filter(({ value, array }) => !array || needed.has(value));
  return { ...graph, inputs, nodes: kept.reverse() };
}
