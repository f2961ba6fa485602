/** Random programs: the compiled graph, after all passes, against tfjs's CPU backend, values and gradients. */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { compile, specOf, valueAndGrad } from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

/** One step: takes two earlier values of shape (3, 4) and makes another; all of them keep values moderate. */
const steps: readonly ((a: Tensor, b: Tensor, n: number) => Tensor)[] = [
  (a, b) => tf.add(a, b),
  (a, b) => tf.sub(a, b),
  (a, b) => tf.mul(tf.tanh(a), b),
  (a, b) => tf.div(a, tf.add(tf.square(b), 1)),
  (a, _, n) => tf.mul(a, n),
  (a, _, n) => tf.add(tf.mul(a, n), 0),
  (a) => tf.div(a, 4),
  (a, _, n) => tf.add(a, tf.fill([3, 4], n)),
  (a) => tf.neg(a),
  (a) => tf.sub(0, a),
  (a) => tf.sigmoid(a),
  (a) => tf.mul(a, tf.onesLike(a)),
  (a, b) => tf.add(tf.mul(a, tf.zerosLike(a)), b),
  (a) => tf.transpose(tf.transpose(a)),
  (a) => tf.reshape(tf.transpose(a), [3, 4]),
  (a) => tf.reshape(tf.expandDims(tf.reshape(a, [12]), 0), [3, 4]),
  (a, b) => tf.tanh(tf.matMul(tf.matMul(a, b, false, true), a)),
  (a, b, n) =>
    tf.mul(tf.matMul(tf.mul(tf.matMul(tf.tanh(a), tf.tanh(b), false, true), n), tf.tanh(b)), 0.25),
  (a) => tf.softmax(a),
  (a, b) => tf.add(a, tf.broadcastTo(tf.mean(b, 0, true), [3, 4])),
  (a, b) => tf.mul(tf.tanh(a), tf.sum(tf.square(tf.tanh(b)), 1, true)),
  (a) => tf.concat([tf.slice(a, [1, 0], [2, 4]), tf.slice(a, [0, 0], [1, 4])], 0),
  (a, b) => tf.concat(tf.split(tf.add(a, b), 2, 1).reverse(), 1),
];

const program = fc.array(
  fc.tuple(fc.nat(steps.length - 1), fc.nat(), fc.nat(), fc.constantFrom(-1, 0, 0.5, 1, 1.5)),
  { minLength: 1, maxLength: 12 },
);

it.each(compiledEngines)("equal the CPU backend on %s", async (compiledEngine) => {
  const random = createRandom(1, "programs");
  const inputs = [ndarray(random.normals(12), [3, 4]), ndarray(random.normals(12), [3, 4])];
  await fc.assert(
    fc.asyncProperty(program, async (lines) => {
      const fn = (xs: readonly Tensor[]) =>
        valueAndGrad((xs: readonly Tensor[]) => {
          const values = [...xs];
          for (const [step, i, j, n] of lines) {
            values.push(steps[step]!(values[i % values.length]!, values[j % values.length]!, n));
          }
          const last = values.at(-1)!;
          return { loss: tf.mean(tf.square(last)), aux: last };
        }, xs);
      const results: NdArray<"float32">[][] = [];
      for (const engine of [compiledEngine, "reference"] as const) {
        const step = await compile(fn, specOf(inputs), { engine, threads: 1 });
        const { value, aux, gradients } = await step.run(inputs);
        results.push([value, aux, ...gradients]);
        step.dispose();
      }
      const [actual, expected] = results as [NdArray<"float32">[], NdArray<"float32">[]];
      for (const [i, array] of expected.entries()) expectClose(actual[i]!, array);
    }),
    { numRuns: compiledEngine === "onnxruntime" ? 150 : 50, seed: 1 },
  );
});

function expectClose(a: NdArray<"float32">, b: NdArray<"float32">): void {
  expect(a.shape).toEqual(b.shape);
  const scale = Math.max(1, ...b.data.map(Math.abs));
  expect(Math.max(...a.data.map((x, i) => Math.abs(x - b.data[i]!) / scale))).toBeLessThan(1e-4);
}
