import { byteLength } from "@aligntok/core";
import type { Graph, Value } from "./graph.ts";

/** Operations that give another shape to the bytes that they take. */
const aliases: readonly string[] = ["Reshape", "ExpandDims", "Identity", "After"];

/**
 * The most bytes of intermediate values that are alive at one time, when nodes run in order and each value is freed
 * after the last node that takes it. Inputs and outputs of the graph are not counted.
 */
export function computePeakBytes(graph: Graph): number {
  const roots = new Map<Value, Value>();
  const rootOf = (value: Value) => roots.get(value) ?? value;
  const lastUse = new Map<Value, number>();
  for (const [at, { op, inputs, outputs }] of graph.nodes.entries()) {
    if (aliases.includes(op)) roots.set(outputs[0]!, rootOf(inputs[0]!));
    for (const value of inputs) if (value) lastUse.set(rootOf(value), at);
  }
  const outside = new Set<Value>([
    ...graph.inputs.map(({ value }) => value),
    ...graph.outputs.map(({ value }) => rootOf(value)),
  ]);
  const dying = new Map<number, Value[]>();
  for (const [value, at] of lastUse) dying.set(at, [...(dying.get(at) ?? []), value]);

  let [alive, peak] = [0, 0];
  for (const [at, { outputs }] of graph.nodes.entries()) {
    const made = outputs.filter((value) => rootOf(value) === value && !outside.has(value));
    alive += sum(made.map(byteLength));
    peak = Math.max(peak, alive);
    const unused = made.filter((value) => !lastUse.has(value));
    const freed = (dying.get(at) ?? []).filter((value) => !outside.has(value));
    alive -= sum([...freed, ...unused].map(byteLength));
  }
  return peak;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
