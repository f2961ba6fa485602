import "@tensorflow/tfjs-backend-cpu";
import { type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { compile, specOf, stopGradient, valueAndGrad } from "../src/index.ts";

const array = (...values: number[]) => ndarray(Float32Array.from(values), [values.length]);

/** Compiles `fn` for ONNX Runtime and for the reference engine, which must agree, and runs it. */
async function evaluate<Out>(fn: (inputs: { x: Tensor; y: Tensor }) => Out) {
  const inputs = { x: array(1, 2, 3), y: array(4, 5, 6) };
  const results = [];
  for (const engine of ["onnxruntime", "reference"] as const) {
    const step = await compile(fn, specOf(inputs), { engine });
    results.push(await step.run(inputs));
    step.dispose();
  }
  expect(results[0]).toEqual(results[1]);
  return results[0]!;
}

const values = (x: unknown) => Array.from((x as NdArray<"float32">).data);

it("gives the value and a gradient like the parameters, with zeros for unused ones", async () => {
  const result = await evaluate(({ x, y }) =>
    valueAndGrad(
      ({ used: [a] }: { used: readonly [Tensor]; unused: Tensor }) => tf.sum(tf.square(a)),
      {
        used: [x] as const,
        unused: y,
      },
    ),
  );
  expect(values(result.value)).toEqual([14]);
  expect(values(result.gradients.used[0])).toEqual([2, 4, 6]);
  expect(values(result.gradients.unused)).toEqual([0, 0, 0]);
});

it("hands out auxiliary results", async () => {
  const result = await evaluate(({ x, y }) =>
    valueAndGrad((x: Tensor) => {
      const product = tf.mul(x, y);
      return { loss: tf.sum(product), aux: { product, parameter: x, list: [tf.neg(product)] } };
    }, x),
  );
  expect(values(result.gradients)).toEqual([4, 5, 6]);
  expect(values(result.aux.product)).toEqual([4, 10, 18]);
  expect(values(result.aux.parameter)).toEqual([1, 2, 3]);
  expect(values(result.aux.list[0])).toEqual([-4, -10, -18]);
});

it("stops gradients where told", async () => {
  const result = await evaluate(({ x }) =>
    valueAndGrad((x: Tensor) => tf.sum(tf.mul(x, stopGradient(x))), x),
  );
  expect(values(result.value)).toEqual([14]);
  expect(values(result.gradients)).toEqual([1, 2, 3]);
});

it("gives no slope to whole numbers, nor through them", async () => {
  const result = await evaluate(({ x, y }) =>
    valueAndGrad(
      ({ x, n }: { x: Tensor; n: Tensor }) => {
        const steps = tf.cast(tf.cast(tf.mul(x, 1.5), "int32"), "float32");
        const signs = tf.cast(tf.cast(x, "bool"), "float32");
        return tf.sum(tf.mul(tf.add(tf.add(steps, signs), x), tf.cast(n, "float32")));
      },
      { x, n: tf.cast(y, "int32") },
    ),
  );
  expect(values(result.value)).toEqual([3 * 4 + 6 * 5 + 8 * 6]);
  expect(values(result.gradients.x)).toEqual([4, 5, 6]);
  expect(values(result.gradients.n)).toEqual([0, 0, 0]);
});

it("differentiates a gradient", async () => {
  const result = await evaluate(({ x }) =>
    valueAndGrad((x: Tensor) => {
      const inner = valueAndGrad((x: Tensor) => tf.sum(tf.mul(x, tf.square(x))), x);
      return tf.sum(tf.square(inner.gradients)); // sum of 9 x^4
    }, x),
  );
  expect(values(result.gradients)).toEqual([36, 288, 972]);
});

it("refuses a loss that is not a scalar, no parameters, and a gradient that does not exist", async () => {
  await expect(evaluate(({ x }) => valueAndGrad((x: Tensor) => tf.square(x), x))).rejects.toThrow(
    /expected a scalar loss, got shape \[3\]. reduce it/,
  );
  await expect(evaluate(({ x }) => valueAndGrad((_: Tensor[]) => tf.sum(x), []))).rejects.toThrow(
    /at least one tensor in params/,
  );
  const second = evaluate(({ x }) =>
    valueAndGrad((x: Tensor) => {
      const images = tf.reshape(x, [1, 1, 3, 1]);
      return tf.sum(tf.engine().runKernel("ResizeBilinearGrad", { images, dy: images }) as Tensor);
    }, x),
  );
  await expect(second).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(
      /^gradient of ResizeBilinearGrad: .*value-and-grad\.test\.ts:\d+/,
    ),
  });
});

it("frees everything that an eager call makes but its results", async () => {
  await tf.setBackend("cpu");
  const x = tf.tensor1d([1, 2]);
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    valueAndGrad((x: Tensor) => ({ loss: tf.sum(tf.exp(x)), aux: { y: tf.exp(x), x } }), x);
  });
  expect(tf.memory().numTensors).toBe(before);
  expect(Array.from(x.dataSync())).toEqual([1, 2]);
});
