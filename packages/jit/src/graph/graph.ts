import type { NdArray } from "@aligntok/core";
import type { TensorSpec } from "../tree.ts";

/** An edge of the graph: the output of a node, or an input of the graph. */
export interface Value {
  readonly shape: readonly number[];
  readonly dtype: TensorSpec["dtype"];
}

export type Attributes = Readonly<Record<string, unknown>>;

/** One operation, under the name of its tfjs kernel (or of one of our primitives). */
export interface Node {
  readonly op: string;
  /** In the order of the kernel's declaration; an optional input that is absent is undefined. */
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /** The `checkpoint` that the node was recorded in. */
  readonly region?: Region | undefined;
}

/** Nodes that a backward pass computes again: `outputs` are the values that are kept. */
export interface Region {
  readonly outputs: ReadonlySet<object>;
}

export interface GraphInput {
  readonly name: string;
  readonly value: Value;
  /** What it is at every run, where that is bound when the graph is compiled. */
  readonly array?: NdArray | undefined;
}

/** A program in execution order: every node comes after those whose outputs it takes. */
export interface Graph {
  readonly inputs: readonly GraphInput[];
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  readonly nodes: readonly Node[];
}

/** Values that are the same everywhere: `attributes` are `{ value }`. */
export const FILL = "Fill";
/** Values known when the graph is traced: `attributes` are `{ data }`. */
export const CONSTANT = "Constant";

/** Which node makes each value. */
export function producersOf(nodes: readonly Node[]): Map<Value, Node> {
  const producers = new Map<Value, Node>();
  for (const node of nodes) for (const output of node.outputs) producers.set(output, node);
  return producers;
}

/** How often each value is taken, by nodes and by the outputs of the graph. */
export function countUses(graph: Graph): Map<Value, number> {
  const uses = new Map<Value, number>();
  const use = (value: Value | undefined) => value && uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(use);
  for (const { value } of graph.outputs) use(value);
  return uses;
}

/**
 * Walks a graph in order and lets `replace` say, for each node whose inputs are already rewritten,
 * what stands in its place: `undefined` keeps it, an array of values stands for its outputs.
 * New nodes go through `emit`.
 */
export function rewrite(
  graph: Graph,
  replace: (node: Node, emit: (node: Node) => void) => readonly Value[] | undefined,
): Graph {
  const replaced = new Map<Value, Value>();
  const current = (value: Value) => replaced.get(value) ?? value;
  const nodes: Node[] = [];
  const emit = (node: Node) => {
    nodes.push(node);
  };
  for (const original of graph.nodes) {
    const inputs = original.inputs.map((value) => value && current(value));
    const changed = inputs.some((value, i) => value !== original.inputs[i]);
    const node = changed ? { ...original, inputs } : original;
    const stand = replace(node, emit);
    if (!stand) emit(node);
    else for (const [i, output] of node.outputs.entries()) replaced.set(output, stand[i]!);
  }
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value: current(value) }));
  return { inputs: graph.inputs, outputs, nodes };
}

/** Attributes as JSON, in which NaN, the infinities and -0 are told apart, with `view` in place of typed arrays. */
export function attributesAsText(
  attributes: Attributes,
  view: (data: ArrayLike<number>) => unknown,
): string {
  return JSON.stringify(attributes, (_, item) => {
    if (ArrayBuffer.isView(item)) return view(item as Float32Array);
    if (Object.is(item, -0)) return "-0";
    return typeof item === "number" && !Number.isFinite(item) ? String(item) : item;
  });
}

/** The graph as text, one line a node: `%3 float32[8,257,384] = LayerNorm(%1, %0) {"epsilon":1e-6}`. */
export function printGraph(graph: Graph): string {
  const names = new Map<Value, string>();
  const nameOf = (value: Value | undefined) => {
    if (!value) return "-";
    const name = names.get(value) ?? `%${names.size}`;
    names.set(value, name);
    return name;
  };
  const typed = (value: Value) => `${nameOf(value)} ${value.dtype}[${value.shape}]`;
  const lines = graph.inputs.map(
    ({ name, value, array }) => `${typed(value)} = ${array ? "bound" : "input"} ${name}`,
  );
  for (const { op, inputs, attributes, outputs } of graph.nodes) {
    const call = `${op}(${inputs.map(nameOf).join(", ")})`;
    const shown = attributesAsText(attributes, ({ length }) => `${length} values`);
    lines.push(`${outputs.map(typed).join(", ")} = ${call}${shown === "{}" ? "" : ` ${shown}`}`);
  }
  lines.push(...graph.outputs.map(({ name, value }) => `output ${name} = ${nameOf(value)}`));
  return lines.join("\n");
}
