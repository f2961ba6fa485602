import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { compile, groupNorm, specOf, valueAndGrad } from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

const [channels, side, groups] = [8, 6, 2];
const random = createRandom(0, "group-norm");

it.each(compiledEngines)("keeps its digits far from zero on %s", async (engine) => {
  // Values around 100 with a spread of 0.1, against float64.
  const data = random.normals(channels * side * side).map((z) => 100 + 0.1 * z);
  const inputs = {
    x: ndarray(data, [1, channels, side, side]),
    weight: ndarray(new Float32Array(channels).fill(1), [channels]),
    bias: ndarray(new Float32Array(channels), [channels]),
  };
  const norm = await compile(
    ({ x, weight, bias }) => groupNorm(x, weight, bias, { groups, eps: 1e-6 }),
    specOf(inputs),
    { engine },
  );
  const got = (await norm.run(inputs)) as NdArray<"float32">;
  norm.dispose();
  const size = data.length / groups;
  for (let group = 0; group < groups; group++) {
    const values = Array.from(data.subarray(group * size, (group + 1) * size));
    const mean = values.reduce((sum, v) => sum + v, 0) / size;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / size;
    for (const [i, value] of values.entries()) {
      const expected = (value - mean) / Math.sqrt(variance + 1e-6);
      expect(got.data[group * size + i]).toBeCloseTo(expected, 3);
    }
  }
});

it("has a second derivative", async () => {
  const x = ndarray(random.normals(channels * 4), [1, channels, 2, 2]);
  const ones = tf.ones([channels]);
  const loss = (x: Tensor) =>
    tf.sum(tf.mul(groupNorm(x, ones, ones, { groups, eps: 0.1, silu: true }), tf.sin(x)));
  const slope = (x: Tensor) => valueAndGrad(loss, x).gradients;
  const penalty = (x: Tensor) => tf.sum(tf.square(slope(x)));
  const direction = random.normals(x.data.length);
  const at = (step: number) =>
    penalty(
      tf.tensor(
        x.data.map((v, i) => v + step * direction[i]!),
        [...x.shape],
      ),
    ).dataSync()[0]!;
  const gradient = valueAndGrad(penalty, tf.tensor(x.data, [...x.shape])).gradients.dataSync();
  const along = Array.from(gradient).reduce((sum, g, i) => sum + g * direction[i]!, 0);
  const numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
  expect(along / numeric).toBeCloseTo(1, 2);
});
