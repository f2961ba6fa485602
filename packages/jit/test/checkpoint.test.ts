import "@tensorflow/tfjs-backend-cpu";
import { createRandom, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { checkpoint, compile, gelu, specOf, valueAndGrad } from "../src/index.ts";
import { AFTER, recompute } from "../src/passes/recompute.ts";
import { trace } from "../src/trace/trace.ts";
import { compiledEngines } from "./engines-here.ts";

const random = createRandom(0, "checkpoint");
const normals = (shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

const weights = { first: normals([8, 6]), second: normals([6, 8]), last: normals([8, 1]) };
const inputs = { weights, x: normals([5, 8]) };
type Tensors = { readonly weights: Readonly<Record<string, Tensor>>; readonly x: Tensor };

/** Two blocks with a residual and a loss; the weights reach the blocks from outside, the hidden value leaves one. */
function network(wrap: typeof checkpoint) {
  return ({ weights, x }: Tensors) =>
    valueAndGrad(
      ({ first, second, last }: typeof weights) => {
        const block = wrap((x: Tensor) => {
          const hidden = gelu(tf.matMul(x, first as tf.Tensor2D));
          return { y: tf.add(x, tf.matMul(hidden, second as tf.Tensor2D)), hidden };
        });
        const { y } = block(x);
        const { y: z, hidden } = block(y);
        return tf.add(tf.mean(tf.square(tf.matMul(z, last as tf.Tensor2D))), tf.mean(hidden));
      },
      weights as Record<"first" | "second" | "last", Tensor>,
    );
}
const plain = ((fn: unknown) => fn) as typeof checkpoint;

it("copies a region to before its backward pass, where it waits for the gradient", () => {
  const { graph } = trace(network(checkpoint) as never, inputs);
  const rewritten = recompute(graph);
  const count = (nodes: typeof graph.nodes, op: string) =>
    nodes.filter((node) => node.op === op).length;
  expect(count(graph.nodes, "Gelu")).toBe(2);
  expect(count(rewritten.nodes, "Gelu")).toBe(4);
  expect(count(rewritten.nodes, AFTER)).toBeGreaterThan(0);
  // Nothing but the copies takes what lay within a region, apart from what the region gave out.
  for (const region of new Set(graph.nodes.flatMap(({ region }) => region ?? []))) {
    const inner = graph.nodes
      .filter((node) => node.region === region)
      .flatMap(({ outputs }) => outputs)
      .filter((value) => !region.outputs.has(value));
    const end = graph.nodes.findLastIndex((node) => node.region === region);
    for (const { inputs } of rewritten.nodes.slice(end + 1)) {
      for (const input of inputs) expect(inner).not.toContain(input);
    }
  }
  expect(rewritten.nodes.some(({ region }) => region)).toBe(false);
});

it("waits for a gradient, not for a constant of it", () => {
  const { graph } = trace(
    (({ x }: Tensors) =>
      valueAndGrad(
        (x: Tensor) => tf.mean(checkpoint((x: Tensor) => tf.leakyRelu(tf.square(x), 0.1))(x)),
        x,
      )) as never,
    inputs,
  );
  const constants = graph.nodes
    .filter(({ op }) => op === "Fill" || op === "Constant")
    .flatMap(({ outputs }) => outputs);
  const waits = recompute(graph).nodes.filter(({ op }) => op === AFTER);
  expect(waits.length).toBeGreaterThan(0);
  for (const { inputs } of waits) expect(constants).not.toContain(inputs[1]);
});

it("leaves a graph without gradients alone", () => {
  const forward = trace(
    (({ x, weights }: Tensors) =>
      checkpoint((x: Tensor) => tf.matMul(x, weights.first as tf.Tensor2D))(x)) as never,
    inputs,
  );
  expect(recompute(forward.graph).nodes.map(({ op }) => op)).toEqual(["BatchMatMul"]);
});

it.each(compiledEngines)("gives the same value and gradients on %s", async (engine) => {
  const run = async (wrap: typeof checkpoint) => {
    const compiled = await compile(network(wrap) as never, specOf(inputs), { engine });
    const result = await compiled.run(inputs as never);
    const copies = compiled.graph.nodes.filter(({ op }) => op === AFTER).length;
    compiled.dispose();
    return { result, copies };
  };
  const [ours, expected] = [await run(checkpoint), await run(plain)];
  expect(ours.result).toEqual(expected.result);
  expect(ours.copies).toBeGreaterThan(0);
  expect(expected.copies).toBe(0);
});
