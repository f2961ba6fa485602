import "@tensorflow/tfjs-backend-cpu";
import { createRandom, float32ToFloat16, type NdArray, ndarray } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, expectTypeOf, it } from "vitest";
import { compile, linear, printGraph, spec } from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

const random = createRandom(0, "bind");
const params = {
  weight: ndarray(random.normals(6), [2, 3]),
  bias: ndarray(random.normals(2), [2]),
  unused: ndarray(random.normals(4), [4]),
};
const x = ndarray(random.normals(12), [4, 3]);
const apply = ({ params, x }: { params: Record<string, tf.Tensor>; x: tf.Tensor }) =>
  linear(x, params.weight!, params.bias!);

describe.each([
  ...compiledEngines.map((engine) => ({ engine })),
  { engine: "onnxruntime", worker: true },
  { engine: "reference" },
] as const)("%o", (options) => {
  it("computes the same with weights bound as with weights given", async () => {
    const given = await compile(
      apply,
      { params: { weight: spec([2, 3]), bias: spec([2]) }, x: spec([4, 3]) },
      options,
    );
    const { weight, bias } = params;
    const expected = await given.run({ params: { weight, bias }, x });
    const bound = await compile(apply, { x: spec([4, 3]) }, { ...options, bind: { params } });
    expectTypeOf(bound.run).parameter(0).toEqualTypeOf<{ readonly x: NdArray }>();
    expect(await bound.run({ x })).toEqual(expected);
    given.dispose();
    bound.dispose();
  });

  it("takes float16 weights for float32", async () => {
    const half = { w: ndarray(float32ToFloat16(Float32Array.of(0.5, -3, 0.1)), [3], "float16") };
    const step = await compile(
      ({ x, w }) => tf.mul(x, w),
      { x: spec([4, 3]) },
      { ...options, bind: half },
    );
    const { data } = await step.run({ x });
    const weights = [0.5, -3, 0.0999755859375]; // 0.1 in float16
    expect(data).toEqual(x.data.map((value, i) => value * weights[i % 3]!));
    step.dispose();
  });
});

it("shares one array among functions, without copying it", async () => {
  const w = ndarray(Float32Array.of(1, 2), [2]);
  const one = await compile(({ x, w }) => tf.mul(x, w), { x: spec([2]) }, { bind: { w } });
  const two = await compile(({ x, w }) => tf.add(x, w), { x: spec([3, 2]) }, { bind: { w } });
  w.data[0] = 7; // which nobody should do
  const ones = new Float32Array(6).fill(1);
  const product = await one.run({ x: ndarray(ones.slice(0, 2), [2]) });
  expect(product.data).toEqual(Float32Array.of(7, 2));
  const sum = await two.run({ x: ndarray(ones, [3, 2]) });
  expect(sum.data).toEqual(Float32Array.of(8, 3, 8, 3, 8, 3));
  one.dispose();
  two.dispose();
});

it.each([{}, { worker: true }])(
  "holds one set of weights for several functions %o",
  async (options) => {
    const megabytes = () => process.memoryUsage.rss() / 2 ** 20;
    const side = 4096; // 64 MB
    const weights = { w: ndarray(new Float32Array(side * side).fill(1), [side, side]) };
    const functions = [];
    const growth = [];
    for (const count of [1, 2, 3, 4]) {
      const before = megabytes();
      const step = await compile(
        ({ x, weights }) => linear(x, weights.w),
        { x: spec([count, side]) },
        { ...options, bind: { weights } },
      );
      const { data } = await step.run({
        x: ndarray(new Float32Array(count * side).fill(2), [count, side]),
      });
      expect(data[0]).toBe(2 * side);
      growth.push(megabytes() - before);
      functions.push(step);
    }
    expect(growth.slice(1).reduce((sum, more) => sum + more)).toBeLessThan(64);
    for (const step of functions) step.dispose();
  },
);

it("drops bound inputs that no output needs, and shows the others", async () => {
  const { graph, dispose } = await compile(apply, { x: spec([4, 3]) }, { bind: { params } });
  expect(printGraph(graph).split("\n")).toEqual([
    "%0 float32[4,3] = input x",
    "%1 float32[2,3] = bound params/weight",
    "%2 float32[2] = bound params/bias",
    "%3 float32[4,2] = Linear(%0, %1, %2)",
    "output out: = %3",
  ]);
  dispose();
});

it("refuses bound inputs that cannot be, and given ones that are bound", async () => {
  const bound = await compile(apply, { x: spec([4, 3]) }, { bind: { params } });
  await expect(bound.run({ x, params } as never)).rejects.toThrow(
    "input params/weight: the function was compiled without it. leave it out; inputs are x",
  );
  bound.dispose();
  await expect(compile(apply, { x: spec([4, 3]), params }, { bind: { params } })).rejects.toThrow(
    "bind params: expected inputs that the spec leaves out, got one of its keys",
  );
  await expect(
    compile(({ w }) => w, spec([1]) as never, { bind: { w: params.bias } }),
  ).rejects.toThrow("bind: expected the spec of the other inputs to be a record");
  await expect(compile(({ w }) => w, {}, { bind: { w: spec([2]) as never } })).rejects.toThrow(
    "bind w: expected an array, got a spec",
  );
});
