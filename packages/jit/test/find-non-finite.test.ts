import { ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { findNonFinite, valueAndGrad } from "../src/index.ts";

const array = (...values: number[]) => ndarray(Float32Array.from(values), [values.length]);

function lossOf({ x }: { x: Tensor }): Tensor {
  const shifted = tf.sub(x, 1);
  const logarithms = tf.log(shifted); // NaN below 1
  return tf.mean(tf.square(logarithms));
}

it("names the first operation that leaves the finite numbers, its line and its operands", async () => {
  const found = await findNonFinite(lossOf, { x: array(0.5, 3, 1) });
  expect(found).toMatchObject({ op: "Log", shape: [3] });
  expect(found?.node).toMatch(/^%\d+ float32\[3\] = Log\(%\d+\)$/);
  expect(found?.caller).toMatch(/^at lossOf .*find-non-finite\.test\.ts:11:\d+/);
  expect(found?.message).toMatch(
    /: float32 \[3\] 1 NaN, 1 infinite, others from 0\.69\d* to 0\.69\d*; operands: float32 \[3\] from -0\.5 to 2$/,
  );
  expect(await findNonFinite(lossOf, { x: array(2, 3, 4) })).toBeUndefined();
});

it("finds what only the gradient does not bear", async () => {
  const step = ({ x }: { x: Tensor }) =>
    valueAndGrad((p: { x: Tensor }) => tf.sum(tf.sqrt(p.x)) as Tensor, { x });
  const found = await findNonFinite(step, { x: array(4, 0) }); // sqrt'(0) is infinite
  expect(found?.message).toMatch(/1 infinite, others from 0\.25 to 0\.25/);
});

it("names an input that is not finite", async () => {
  const found = await findNonFinite(({ deep: { x } }: { deep: { x: Tensor } }) => tf.neg(x), {
    deep: { x: array(1, Number.NaN) },
  });
  expect(found).toEqual({
    op: "input",
    shape: [2],
    node: "input deep/x",
    message: "input deep/x: float32 [2] 1 NaN, 0 infinite, others from 1 to 1",
  });
});

it("is not misled by values that cancel", async () => {
  const big = array(3e38, -3e38);
  expect(await findNonFinite(({ x }: { x: Tensor }) => tf.neg(x), { x: big })).toBeUndefined();
  const doubled = await findNonFinite(({ x }: { x: Tensor }) => tf.sum(tf.mul(x, 2)), { x: big });
  expect(doubled).toMatchObject({ op: "Multiply", shape: [2] });
});
