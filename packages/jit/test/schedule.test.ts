import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import type { Graph, Node, Value } from "../src/graph/graph.ts";
import { linear, valueAndGrad } from "../src/index.ts";
import { schedule } from "../src/onnx/schedule.ts";
import { optimize } from "../src/passes/index.ts";
import { record } from "./graphs.ts";

/** The nodes of the file that is written: with one that copies, for each output that other nodes take as well. */
function fileNodes(graph: Graph): Node[] {
  const taken = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  const copyOf = (value: Value): Node => ({
    ...{ op: "Identity", inputs: [value], attributes: {} },
    outputs: [{ ...value }],
  });
  return schedule(graph).flatMap(({ node, outputs }) => [
    ...(node ? [node] : []),
    ...outputs.flatMap(({ value }) => (taken.has(value) ? [copyOf(value)] : [])),
  ]);
}

/**
 * The order in which ONNX Runtime computes the nodes of a file, by its own rule: for each node that no other takes,
 * from the last to the first, whatever it still needs, of that too the last in the file first.
 */
function executionOrder(nodes: readonly Node[]): number[] {
  const producers = new Map(nodes.flatMap((node, i) => node.outputs.map((value) => [value, i])));
  const inputsOf = (i: number) =>
    nodes[i]!.inputs.flatMap((value) => (value && producers.get(value)) ?? []);
  const taken = new Set(nodes.flatMap((_, i) => inputsOf(i)));
  const order = new Set<number>();
  const visit = (i: number) => {
    if (order.has(i)) return;
    for (const input of inputsOf(i).sort((a, b) => b - a)) visit(input);
    order.add(i);
  };
  const leaves = [...nodes.keys()].filter((i) => !taken.has(i));
  leaves.reverse().forEach(visit);
  return [...order];
}

const layers = 4;
const network = (x: Tensor, weights: readonly Tensor[]) =>
  valueAndGrad(
    (ws: readonly Tensor[]) => tf.mean(ws.reduce((h, w) => linear(tf.tanh(h), w), x)) as Tensor,
    weights,
  );

it.each([
  ["", network],
  [
    ", where a node takes the first layer's gradient, too",
    (x: Tensor, weights: readonly Tensor[]) => {
      const made = network(x, weights);
      return { ...made, norm: tf.sum(tf.square(made.gradients[0]!)) };
    },
  ],
])("computes weight gradients on the way back, each node after its inputs%s", (_, network) => {
  const graph = optimize(
    record((x, ...weights) => network(x!, weights), Array(1 + layers).fill([3, 3])),
  );
  expect(schedule(graph).flatMap(({ outputs }) => outputs)).toHaveLength(graph.outputs.length);
  const nodes = fileNodes(graph);
  expect(graph.nodes.filter((node) => !nodes.includes(node))).toEqual([]);
  for (const [i, { inputs }] of nodes.entries()) {
    const later = nodes.slice(i).flatMap(({ outputs }) => outputs);
    expect(inputs.some((value) => value && later.includes(value))).toBe(false);
  }
  const computed = executionOrder(nodes).map((i) => nodes[i]!);
  const placeOf = (name: string) => {
    const value = graph.outputs.find((output) => output.name === name)?.value;
    return computed.findIndex(({ outputs }) => outputs.includes(value!));
  };
  // The last layer's gradient first; between two of them no more than one layer's way back.
  const places = [...Array(layers).keys()].map((i) => placeOf(`out:gradients/${i}`)).reverse();
  const distances = places.slice(1).map((place, i) => place - places[i]!);
  expect(Math.min(...distances)).toBeGreaterThan(0);
  expect(Math.max(...distances)).toBeLessThan(computed.length / layers);
});
