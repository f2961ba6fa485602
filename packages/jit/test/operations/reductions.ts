/** Operations along one or more axes. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import {
  type Domain,
  distinct,
  integers,
  type Operation,
  operation,
  positive,
  shape,
  truths,
  withAxis,
} from "./operation.ts";

type Reduce = (x: Tensor, axes: number[] | undefined, keepDims: boolean) => Tensor;

/** Any set of axes, in any order and from either end; or all of them, by saying nothing. */
const axes = shape().chain((x) =>
  fc.record({
    shapes: fc.constant([x]),
    options: fc.record({
      axes: fc.option(
        fc
          .shuffledSubarray(
            x.map((_, i) => i),
            { minLength: 1 },
          )
          .chain(
            (list) =>
              fc.tuple(...list.map((i) => fc.constantFrom(i, i - x.length))) as fc.Arbitrary<
                number[]
              >,
          ),
        { nil: undefined },
      ),
      keepDims: fc.boolean(),
    }),
  }),
);

const reduction = (name: string, call: Reduce, rest: Partial<Operation> = {}): Operation =>
  operation({
    name: `tf.${name}`,
    kernels: [name[0]!.toUpperCase() + name.slice(1)],
    draw: axes,
    call: ([x], { axes, keepDims }) => call(x!, axes, keepDims),
    ...(rest as object),
  });

const along = (
  name: string,
  kernels: string[],
  call: (x: Tensor, axis: number) => Tensor,
  rest: Partial<Operation> = {},
): Operation =>
  operation({
    name: `tf.${name}`,
    kernels,
    draw: withAxis,
    call: ([x], { axis }) => call(x!, axis),
    ...(rest as object),
  });

/** Running sums and products have two switches. */
const running = (name: string, call: typeof tf.cumsum, rest: Partial<Operation> = {}) =>
  operation({
    name: `tf.${name}`,
    kernels: [name[0]!.toUpperCase() + name.slice(1)],
    draw: fc
      .tuple(withAxis, fc.boolean(), fc.boolean())
      .map(([{ shapes, options }, exclusive, reverse]) => ({
        shapes,
        // tfjs's CPU backend takes no negative axis here.
        options: {
          axis: (options.axis + shapes[0]!.length) % shapes[0]!.length,
          exclusive,
          reverse,
        },
      })),
    call: ([x], { axis, exclusive, reverse }) => call(x!, axis, exclusive, reverse),
    ...(rest as object),
  });

const flat = { gradient: false } as const;
const whole = (name: string) => ({ ...flat, domain: integers, name: `tf.${name} of integers` });
/** Around 1, with some zeros. */
const factors: Domain = { map: (x) => (x < -1 ? 0 : 1 + 0.2 * x) };

export const reductions: readonly Operation[] = [
  reduction("sum", tf.sum),
  reduction("sum", tf.sum, whole("sum")),
  reduction("mean", tf.mean),
  reduction("max", tf.max, { domain: distinct, note: "NaN may be passed over" }),
  reduction("max", tf.max, whole("max")),
  reduction("min", tf.min, { domain: distinct, note: "NaN may be passed over" }),
  reduction("prod", tf.prod, { domain: factors }),
  reduction("prod", tf.prod, {
    ...flat,
    domain: { dtype: "int32", map: (x: number) => 1 + Number(x > 2.5) },
    name: "tf.prod of integers",
  }),
  reduction("all", tf.all, {
    ...flat,
    domain: { ...truths, map: (x: number) => Number(x > -1.5) },
  }),
  reduction("any", tf.any, { ...flat, domain: { ...truths, map: (x: number) => Number(x > 1.5) } }),
  reduction("logSumExp", tf.logSumExp, { kernels: ["Max", "Exp", "Sum", "Log"] }),
  reduction(
    "norm",
    (x: Tensor, axes, keepDims) => tf.norm(x, "euclidean", axes?.slice(0, 1), keepDims),
    {
      domain: positive,
      kernels: ["Square", "Sum", "Sqrt"],
    },
  ),
  reduction("moments", (x, axes, keepDims) => tf.moments(x, axes, keepDims).variance, {
    kernels: ["Mean", "Square"],
  }),
  along("argMax", ["ArgMax"], tf.argMax, { ...flat, domain: distinct }),
  along("argMin", ["ArgMin"], tf.argMin, {
    ...flat,
    domain: integers,
    name: "tf.argMin of integers",
  }),
  along("argMin", ["ArgMin"], tf.argMin, { ...flat, domain: distinct }),
  running("cumsum", tf.cumsum),
  running("cumsum", tf.cumsum, { ...whole("cumsum") }),
  running("cumprod", tf.cumprod, { domain: factors }),
  operation({
    name: "tf.softmax",
    kernels: ["Softmax"],
    draw: shape().map((x) => ({ shapes: [x], options: undefined })),
    call: ([x]) => tf.softmax(x!),
  }),
  along("logSoftmax", ["LogSoftmax"], (x) => tf.logSoftmax(x)),
  ...[distinct, { dtype: "int32", map: (x: number) => Math.round(20 * x) } as Domain].map(
    (domain, i) =>
      operation({
        name: i ? "tf.topk of integers" : "tf.topk",
        kernels: ["TopK"],
        draw: shape().chain((x) =>
          fc.integer({ min: 1, max: x.at(-1)! }).map((k) => ({ shapes: [x], options: { k } })),
        ),
        domain,
        call: ([x], { k }) => {
          const { values, indices } = tf.topk(x!, k);
          return [values, indices];
        },
        ...(i ? flat : {}),
      }),
  ),
];
