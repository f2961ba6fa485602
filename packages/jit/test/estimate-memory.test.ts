import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { checkpoint, estimateMemory, groupNorm, spec, valueAndGrad } from "../src/index.ts";

const a = spec([10, 10]); // 400 bytes

describe("estimateMemory", () => {
  it("frees values after their last use", () => {
    const chain = (length: number) => (x: { a: tf.Tensor }) => {
      let y: tf.Tensor = x.a;
      for (let i = 0; i < length; i++) y = tf.sin(y);
      return tf.cos(y);
    };
    const { inputs, outputs, intermediate } = estimateMemory(chain(5), { a });
    expect({ inputs, outputs, intermediate }).toEqual({
      inputs: 400,
      outputs: 400,
      intermediate: 800,
    });
    expect(estimateMemory(chain(50), { a }).intermediate).toBe(800);
  });

  it("keeps what a gradient needs, and less with checkpoint", () => {
    const block = ({ x }: { x: tf.Tensor }) => {
      let y = x;
      for (let i = 0; i < 10; i++) y = tf.sin(y);
      return y;
    };
    const loss = (wrap: (fn: typeof block) => typeof block) => (x: { a: tf.Tensor }) =>
      valueAndGrad((v: tf.Tensor) => {
        const run = wrap(block);
        return tf.sum(run({ x: run({ x: run({ x: run({ x: v }) }) }) }));
      }, x.a).gradients;
    const kept = estimateMemory(
      loss((fn) => fn),
      { a },
    ).intermediate;
    const again = estimateMemory(loss(checkpoint), { a }).intermediate;
    expect(kept).toBeGreaterThanOrEqual(39 * 400);
    expect(again).toBeLessThan(kept / 2);
  });

  it("keeps nothing of a checkpoint whose gradient states its forward pass again", () => {
    const ones = (n: number) => tf.ones([n]);
    const block = (x: tf.Tensor) => {
      const y = groupNorm(x, ones(8), ones(8), { groups: 2, eps: 1e-6, silu: true });
      return tf.add(x, tf.mul(tf.sin(tf.sin(y)), y));
    };
    const gradient =
      (run: typeof block) =>
      ({ x }: { x: tf.Tensor }) =>
        valueAndGrad((x: tf.Tensor) => {
          let y = x;
          for (let i = 0; i < 12; i++) y = run(y);
          return tf.sum(y);
        }, x).gradients;
    const bytes = (run: typeof block) =>
      estimateMemory(gradient(run), { x: spec([1, 8, 4, 4]) }).intermediate / (8 * 4 * 4 * 4);
    expect(bytes(block)).toBeGreaterThan(12 * 5);
    expect(bytes(checkpoint(block))).toBeLessThan(12 + 16); // of each block what it took, and one block
  });

  it("counts a reshaped value once", () => {
    const fn = (x: { a: tf.Tensor }) => tf.cos(tf.reshape(tf.sin(x.a), [100]));
    expect(estimateMemory(fn, { a }).intermediate).toBe(400);
  });
});
