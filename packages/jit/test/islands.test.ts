/** A net of tfjs's own convolutions, channels last: what the pass leaves of its transpositions, and the same numbers. */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import type { Graph } from "../src/graph/graph.ts";
import { compile, specOf, valueAndGrad } from "../src/index.ts";
import { optimize } from "../src/passes/index.ts";
import { growIslands } from "../src/passes/islands.ts";
import { trace } from "../src/trace/trace.ts";
import { compiledEngines } from "./engines-here.ts";

const random = createRandom(0, "islands");
const normals = (shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

const inputs = {
  x: normals([2, 8, 8, 3]),
  w1: normals([3, 3, 3, 4]),
  b1: normals([4]),
  w2: normals([3, 3, 4, 4]),
  scale: normals([4]),
  w3: normals([1, 1, 4, 2]),
};
type Inputs = Readonly<Record<keyof typeof inputs, Tensor>>;

/** Bias, scale, residual, pooling, concatenation, padding, clipping by a condition, mean over the image. */
function net({ x, w1, b1, w2, scale, w3 }: Inputs): Tensor {
  const convolve = (x: Tensor, w: Tensor) => tf.conv2d(x as Tensor4D, w as Tensor4D, 1, "same");
  let h: Tensor = tf.relu(tf.add(convolve(x, w1), b1));
  h = tf.add(h, tf.tanh(tf.add(tf.mul(convolve(h, w2), scale), b1 as Tensor1D)));
  h = tf.maxPool(h as Tensor4D, 2, 2, "same");
  h = tf.concat([h, convolve(h, w3)], 3);
  h = tf.pad(tf.where(tf.greater(h, -1), h, tf.mul(h, 0.5)), [
    [0, 0],
    [1, 0],
    [0, 1],
    [0, 0],
  ]);
  return tf.mean(tf.square(tf.mean(h, [1, 2])));
}

/** Transpositions of images, those of weights left out. */
const moves = ({ nodes }: Graph) =>
  nodes.filter(
    ({ op, attributes, inputs: [x] }) =>
      op === "Transpose" &&
      ["0,2,3,1", "0,3,1,2"].includes(String(attributes.perm)) &&
      sizeOf(x!.shape) > 8,
  ).length;

it("leaves the transposition of the input", () => {
  const { graph } = trace(net as never, inputs);
  expect(moves(graph)).toBe(8);
  expect(moves(optimize(graph))).toBe(1);
});

it("leaves alone what has no image, and values of more axes", () => {
  const { graph } = trace(
    (({ x, b1 }: Inputs) => {
      const moved = tf.transpose(x, [0, 3, 1, 2]); // (2, 3, 8, 8)
      return [tf.add(moved, tf.ones([2, 2, 3, 8, 8])), tf.mul(b1, b1), tf.mean(moved, [1])];
    }) as never,
    inputs,
  );
  expect(growIslands(graph).nodes.map(({ op }) => op)).toEqual(graph.nodes.map(({ op }) => op));
});

it.each(compiledEngines)("gives tfjs's value and gradients on %s", async (engine) => {
  const run = async (engine: "onnxruntime" | "tensorflow" | "reference") => {
    const compiled = await compile(
      (tensors) => valueAndGrad((p: Inputs) => net(p), tensors as Inputs),
      specOf(inputs),
      { engine },
    );
    const { value, gradients } = (await compiled.run(inputs)) as unknown as {
      value: NdArray<"float32">;
      gradients: Record<string, NdArray<"float32">>;
    };
    compiled.dispose();
    return { value, ...gradients } as Record<string, NdArray<"float32">>;
  };
  const [ours, expected] = [await run(engine), await run("reference")];
  for (const [name, { data }] of Object.entries(expected)) {
    for (const [i, value] of data.entries()) {
      expect(ours[name]!.data[i], name).toBeCloseTo(value, 4);
    }
  }
});
