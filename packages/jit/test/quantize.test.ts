import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { compile, gelu, linear, spec } from "../src/index.ts";
import { operations } from "./graphs.ts";

const random = createRandom(0, "quantize");
const normals = (shape: number[]) => ndarray(random.normals(shape.reduce((a, b) => a * b)), shape);
const params = {
  w1: normals([96, 64]),
  b1: normals([96]),
  w2: normals([64, 96]),
  b2: normals([64]),
  gamma: normals([64]),
  small: normals([3, 64]),
};
type Params = Record<keyof typeof params, Tensor>;
const x = normals([2, 5, 64]);

const mlp = ({ params: p, x }: { params: Params; x: Tensor }) =>
  tf.mul(linear(gelu(linear(x, p.w1, p.b1)), p.w2, p.b2), p.gamma);

async function both(fn: typeof mlp, given: NdArray<"float32"> = x) {
  const results = [];
  for (const precision of ["float32", "int8"] as const) {
    const options = { bind: { params }, precision };
    const compiled = await compile(fn, { x: spec(given.shape) }, options);
    const output = await compiled.run({ x: given });
    results.push({ operations: operations(compiled.graph), data: output.data as Float32Array });
    compiled.dispose();
  }
  return results as [(typeof results)[0], (typeof results)[0]];
}

/** Of one layer or two: 0.012 with weights of 8 bits, 0.018 with the 7 of processors without VNNI. */
const largestError = 0.02;

/** Root of the mean square of the error, over that of the values. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  const square = (values: Float32Array) => values.reduce((sum, v) => sum + v * v, 0);
  return Math.sqrt(square(actual.map((v, i) => v - expected[i]!)) / square(expected));
}

describe("int8", () => {
  it("takes over linear layers and the factor after them, and errs by a hundredth or two", async () => {
    const [exact, int8] = await both(mlp);
    expect(exact.operations).toEqual(["Linear", "Gelu", "Linear", "Multiply"]);
    expect(int8.operations).toEqual(["QuantizedLinear", "Gelu", "QuantizedLinear"]);
    expect(relativeError(int8.data, exact.data)).toBeLessThan(largestError);
    expect(int8.data).not.toEqual(exact.data);
  });

  it("gives each row a scale of its own", async () => {
    // one scale for all would leave nothing of the small rows
    const scaled = ndarray(
      x.data.map((value, i) => value * 10 ** (3 - (i >> 6))),
      x.shape,
    );
    const [exact, int8] = await both(({ params: p, x }) => linear(x, p.w1), scaled);
    for (let row = 0; row < 10; row++) {
      const [a, b] = [int8, exact].map(({ data }) => data.subarray(row * 96, (row + 1) * 96));
      expect(relativeError(a!, b!)).toBeLessThan(largestError);
    }
  });

  it("is exact for rows of zeros and for products of few steps", async () => {
    const steps = ndarray(
      x.data.map((_, i) => (i < 64 ? 0 : (i % 5) - 2)),
      x.shape,
    );
    const [exact, int8] = await both(({ params: p, x }) => linear(x, p.w1, p.b1), steps);
    expect(int8.data.slice(0, 96)).toEqual(params.b1.data);
    expect(exact.data.slice(0, 96)).toEqual(params.b1.data);
    expect(relativeError(int8.data, exact.data)).toBeLessThan(largestError);
  });

  it("keeps a factor that another takes the layer without", async () => {
    const shared: typeof mlp = ({ params: p, x }) => {
      const y = linear(x, p.w1, p.b1);
      return tf.add(tf.mul(y, p.b1), y);
    };
    const [exact, int8] = await both(shared);
    expect(int8.operations).toEqual(["QuantizedLinear", "Multiply", "Add"]);
    expect(relativeError(int8.data, exact.data)).toBeLessThan(largestError);
  });

  it("leaves small layers, and those whose weights are given, as they are", async () => {
    const [exact, int8] = await both(({ params: p, x }) =>
      tf.concat([linear(x, p.small), linear(x, p.w1), linear(x, tf.neg(p.w1))], -1),
    );
    expect(int8.operations.filter((op) => op === "Linear")).toHaveLength(2);
    expect(int8.operations).toContain("QuantizedLinear");
    expect(relativeError(int8.data, exact.data)).toBeLessThan(largestError);
  });

  it("is refused where there is nothing to quantise, and by other engines", async () => {
    const inputs = { x: spec([2, 64]), w: spec([96, 64]) };
    const given = ({ x, w }: { x: Tensor; w: Tensor }) => linear(x, w);
    await expect(compile(given, inputs, { precision: "int8" })).rejects.toThrow(
      "precision int8: expected linear layers whose weights are bound, got none. give the weights as bind",
    );
    await expect(
      compile(given, inputs, { precision: "int8", engine: "reference" }),
    ).rejects.toMatchObject({ code: "unsupported" });
    await expect(compile(given, inputs, { precision: "int4" as "int8" })).rejects.toThrow(
      "precision: expected float32, int8 or bfloat16, got int4",
    );
  });
});
