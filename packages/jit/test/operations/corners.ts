/** Where operations are easily wrong, and random numbers do not go. */
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { attention } from "../../src/index.ts";
import { integers, type Operation, one, operation, positive } from "./operation.ts";

const fixed = (...shapes: number[][]) => fc.constant({ shapes, options: undefined });

export const corners: readonly Operation[] = [
  // Scaled up, so that a relative error near 0 would show.
  operation({
    name: "log1p near 0",
    kernels: [],
    draw: one,
    call: ([x]) => tf.mul(tf.log1p(tf.mul(x!, 1e-5)), 1e5),
  }),
  operation({
    name: "expm1 near 0",
    kernels: [],
    draw: one,
    call: ([x]) => tf.mul(tf.expm1(tf.mul(x!, 1e-5)), 1e5),
  }),
  operation({
    name: "log1p far",
    kernels: [],
    draw: one,
    domain: positive,
    call: ([x]) => tf.log1p(tf.mul(x!, 1e5)),
  }),
  operation({
    name: "matMul that broadcasts batches",
    kernels: [],
    // tfjs's CPU backend is wrong where each side broadcasts the other.
    draw: fixed([3, 2], [2, 4, 5, 2]),
    call: ([a, b]) => tf.matMul(a!, b!, false, true),
  }),
  operation({
    name: "a product of integers times a number",
    kernels: [],
    draw: fixed([2, 3], [3, 4]),
    domain: integers,
    call: ([a, b]) => tf.mul(tf.matMul(a!, b!), tf.scalar(2, "int32")),
    gradient: false,
  }),
  operation({
    name: "prod with zeros",
    kernels: [],
    draw: fixed([2, 3]),
    domain: { map: (x: number) => (x > 0.2 ? 0 : x) },
    call: ([x]) => tf.prod(x!, 1),
  }),
  operation({
    name: "atan2 at the origin",
    kernels: [],
    draw: fixed([2], [2]),
    domain: { map: () => 0 },
    call: ([a, b]) => tf.atan2(a!, b!),
    gradient: false,
  }),
  operation({
    name: "sums of many updates at one place",
    kernels: [],
    draw: fixed([40, 1], [40, 3]),
    domain: [{ dtype: "int32", map: (x: number) => Number(x > 1) }, {}],
    call: ([indices, updates]) => tf.scatterND(indices!, updates!, [2, 3]),
  }),
  operation({
    name: "broadcasting against an empty axis",
    kernels: [],
    draw: fixed([1, 3], [0, 3], [3]),
    call: ([a, b, c]) => [tf.add(tf.mul(a!, b!), c!), tf.sum(b!, 0), tf.neg(a!), tf.neg(c!)],
  }),
  operation({
    name: "attention to one key",
    kernels: [],
    draw: fixed([1, 1, 1, 4], [1, 1, 1, 4], [1, 1, 1, 3]),
    call: ([q, k, v]) => attention(q!, k!, v!, { scale: 0.5, causal: true }),
  }),
];
