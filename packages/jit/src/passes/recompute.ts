import { CONSTANT, FILL, type Graph, type Node, type Region, type Value } from "../graph/graph.ts";

/** A value, handed out once another one is there: `inputs` are both of them. */
export const AFTER = "After";

/**
 * Computes what a backward pass needs of a `checkpoint` region again, in place of keeping it: the region's nodes
 * are copied to before the first node that takes one of their values from outside. The copies wait for the
 * gradient that has arrived there by then, since an engine would otherwise run them with the originals.
 */
export function recompute(graph: Graph): Graph {
  const regions = new Set(graph.nodes.flatMap(({ region }) => region ?? []));
  const { nodes, ...rest } = [...regions].reduce(recomputeRegion, graph);
  return { ...rest, nodes: nodes.map(({ region: _, ...node }) => node) };
}

function recomputeRegion(graph: Graph, region: Region): Graph {
  const inside = graph.nodes.filter((node) => node.region === region);
  const inner = new Set<Value>(inside.flatMap(({ outputs }) => outputs));
  for (const output of region.outputs) inner.delete(output as Value);
  const takesInner = (node: Node) =>
    node.region !== region && node.inputs.some((input) => input && inner.has(input));

  const first = graph.nodes.findIndex(takesInner);
  const end = graph.nodes.lastIndexOf(inside.at(-1)!) + 1;
  const [before, after] = [graph.nodes.slice(0, first), graph.nodes.slice(first)];
  const arrived = first < end ? undefined : latestTaken(before.slice(end), after);
  if (!arrived) return graph; // nothing is kept, or no gradient can be waited for

  const copies = copyNodes(inside, arrived);
  for (const output of region.outputs) copies.values.delete(output as Value);
  // What the region took waits for them, too: a gradient that states a forward expression again (that of group norm)
  // then shares it with the copies. With the originals it would keep them.
  const current = (value: Value | undefined) => (value && copies.values.get(value)) ?? value;
  const rest = after.map((node) =>
    node.inputs.some((value) => value && copies.values.has(value))
      ? { ...node, inputs: node.inputs.map(current) }
      : node,
  );
  return { ...graph, nodes: [...before, ...copies.nodes, ...rest] };
}

/** The last value computed among `nodes` that later ones take: a constant is there from the beginning. */
function latestTaken(nodes: readonly Node[], later: readonly Node[]): Value | undefined {
  const taken = new Set(later.flatMap(({ inputs }) => inputs));
  return nodes
    .filter(({ op }) => op !== FILL && op !== CONSTANT)
    .flatMap(({ outputs }) => outputs)
    .findLast((value) => taken.has(value) && value.dtype === "float32");
}

/** Nodes again, on inputs that wait for `arrived`. */
function copyNodes(nodes: readonly Node[], arrived: Value) {
  const copied: Node[] = [];
  const values = new Map<Value, Value>(); // from an original to its copy, or to what waits
  const made = new Set(nodes.flatMap(({ outputs }) => outputs));
  const waiting = (value: Value): Value => {
    const found = values.get(value);
    if (found || made.has(value)) return found!;
    const output = { ...value };
    copied.push({ op: AFTER, inputs: [value, arrived], attributes: {}, outputs: [output] });
    values.set(value, output);
    return output;
  };
  for (const { region: _, ...node } of nodes) {
    const inputs = node.inputs.map((value) => value && waiting(value));
    const outputs = node.outputs.map((value) => ({ ...value }));
    for (const [i, original] of node.outputs.entries()) values.set(original, outputs[i]!);
    copied.push({ ...node, inputs, outputs });
  }
  return { nodes: copied, values };
}
