import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { linear, valueAndGrad } from "../src/index.ts";
import { schedule } from "../src/onnx/schedule.ts";
import { optimize } from "../src/passes/index.ts";
import { record } from "./graphs.ts";

/**
 * The order in which ONNX Runtime computes the nodes of a file, by its own rule: for each node that no other takes,
 * from the last to the first, whatever it still needs.
 */
function executionOrder(nodes: ReturnType<typeof schedule>): number[] {
  const producers = new Map(nodes.flatMap((node, i) => node.outputs.map((value) => [value, i])));
  const inputsOf = (i: number) => nodes[i]!.inputs.map((value) => value && producers.get(value));
  const taken = new Set(nodes.flatMap((_, i) => inputsOf(i)));
  const order: number[] = [];
  const visit = (i: number | undefined) => {
    if (i === undefined || order.includes(i)) return;
    inputsOf(i).forEach(visit);
    order.push(i);
  };
  const leaves = [...nodes.keys()].filter((i) => !taken.has(i));
  leaves.reverse().forEach(visit);
  return order;
}

it("computes weight gradients on the way back, each node after its inputs", () => {
  const layers = 4;
  const network = (x: Tensor, weights: readonly Tensor[]) =>
    valueAndGrad(
      (ws: readonly Tensor[]) => tf.mean(ws.reduce((h, w) => linear(tf.tanh(h), w), x)) as Tensor,
      weights,
    );
  const graph = optimize(
    record((x, ...weights) => network(x!, weights), Array(1 + layers).fill([3, 3])),
  );
  const nodes = schedule(graph);
  expect(new Set(nodes)).toEqual(new Set(graph.nodes));
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
