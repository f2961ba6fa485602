/**
 * Our primitives, and corners of tfjs's kernels that the generated tests do not reach, on every compiled engine and on
 * tfjs's CPU backend: equal values, equal gradients, and gradients that agree with the slope of the function (so that
 * a wrong formula cannot hide by being wrong on both).
 */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray, type Random, sizeOf } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  attention,
  compile,
  type EngineName,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  rmsNorm,
  silu,
  specOf,
  valueAndGrad,
} from "../src/index.ts";
import { lowerings } from "../src/onnx/lower.ts";
import { rules } from "../src/trace/kernel.ts";
import { compiledEngines } from "./engines-here.ts";

type T = tf.Tensor;
interface Case {
  readonly name: string;
  readonly fn: (...inputs: T[]) => T;
  readonly shapes: (random: Random) => number[][];
  /** Maps standard normal numbers into the domain of the function. */
  readonly domain?: (x: number) => number;
  /** Functions that are constant or jump have no slope to compare. */
  readonly differentiable?: false;
}

const dims = (random: Random, rank: number) =>
  Array.from({ length: rank }, () => 1 + random.integer(4));
const one = (random: Random) => [dims(random, 1 + random.integer(4))];
const images = (random: Random, c = 1 + random.integer(3)) => [
  1 + random.integer(2),
  c,
  4 + random.integer(3),
  4 + random.integer(3),
];
const positive = (x: number) => Math.abs(x) + 0.3;

const unary = (name: string, fn: (x: T) => T, options: Partial<Case> = {}): Case => ({
  name,
  fn,
  shapes: one,
  ...options,
});

const cases: Case[] = [
  // Scaled up, so that a relative error near 0 would show.
  unary("log1p near 0", (x) => tf.mul(tf.log1p(tf.mul(x, 1e-5)), 1e5)),
  unary("expm1 near 0", (x) => tf.mul(tf.expm1(tf.mul(x, 1e-5)), 1e5)),
  unary("log1p far", (x) => tf.log1p(tf.mul(x, 1e5)), { domain: positive }),
  {
    name: "matMul that broadcasts batches",
    fn: (a, b) => tf.matMul(a!, b!, false, true),
    // tfjs's CPU backend is wrong where each side broadcasts the other.
    shapes: () => [
      [3, 2],
      [2, 4, 5, 2],
    ],
  },
  {
    name: "linear",
    fn: (x, w, b) => linear(x!, w!, b!),
    shapes: (r) => {
      const x = dims(r, 3);
      return [x, [3, x[2]!], [3]];
    },
  },
  {
    name: "layerNorm",
    fn: (x, w, b) => layerNorm(x!, w!, b!, 1e-5),
    shapes: (r) => {
      const d = 4 + r.integer(4);
      return [[2, 3, d], [d], [d]];
    },
  },
  {
    name: "layerNorm without parameters",
    fn: (x) => layerNorm(x!, undefined, undefined, 1e-5),
    shapes: (r) => [[3, 4 + r.integer(4)]],
  },
  {
    name: "rmsNorm",
    fn: (x, w) => rmsNorm(x!, w!, 1e-5),
    shapes: (r) => {
      const d = 4 + r.integer(4);
      return [[2, 3, d], [d]];
    },
  },
  ...[false, true].map(
    (activated): Case => ({
      name: `groupNorm ${activated ? "with silu" : ""}`,
      fn: (x, w, b) => groupNorm(x!, w!, b!, { groups: 2, eps: 1e-5, silu: activated }),
      shapes: (r) => [images(r, 4), [4], [4]],
    }),
  ),
  unary("gelu", (x) => gelu(x)),
  unary("gelu tanh", (x) => gelu(x, "tanh")),
  unary("silu", silu),
  {
    name: "attention",
    fn: (q, k, v) => attention(q!, k!, v!, 0.6),
    shapes: (r) => {
      const [b, h, t, s] = dims(r, 4);
      return [
        [b!, h!, t!, 4],
        [b!, h!, s!, 4],
        [b!, h!, s!, 3],
      ];
    },
  },
];

beforeAll(async () => {
  await tf.setBackend("cpu");
});

describe.each(cases)("$name", ({ fn, shapes, domain = (x) => x, differentiable = true }) => {
  it.each(compiledEngines)("agrees with tfjs's CPU backend on %s", async (engine) => {
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed, "kernels");
      const inputs = shapes(random).map((shape) =>
        ndarray(random.normals(sizeOf(shape)).map(domain), shape),
      );
      const output = tf.tidy(
        () => fn(...inputs.map(({ data, shape }) => tf.tensor(data, [...shape]))).shape,
      );
      const cotangent = ndarray(random.normals(sizeOf(output)), output);
      // The loss is a random combination of the outputs, so that every output counts.
      const loss = ({ xs, c }: { xs: readonly T[]; c: T }) => ({
        loss: tf.sum(tf.mul(fn(...xs), c)),
        aux: fn(...xs),
      });
      const program = (given: { xs: readonly T[]; c: T }) =>
        differentiable
          ? valueAndGrad((xs: readonly T[]) => loss({ xs, c: given.c }), given.xs)
          : { value: loss(given).loss, aux: loss(given).aux, gradients: [] as T[] };
      const run = async (engine: EngineName) => {
        const step = await compile(program, specOf({ xs: inputs, c: cotangent }), {
          engine,
          threads: 1,
        });
        const result = await step.run({ xs: inputs, c: cotangent } as never);
        step.dispose();
        return result as unknown as {
          value: NdArray<"float32">;
          aux: NdArray<"float32">;
          gradients: NdArray<"float32">[];
        };
      };
      const [actual, expected] = [await run(engine), await run("reference")];
      expectClose(actual.aux, expected.aux);
      for (const [i, gradient] of expected.gradients.entries()) {
        expectClose(actual.gradients[i]!, gradient);
      }
      if (differentiable) expectSlope(inputs, cotangent, fn, actual.gradients, random);
    }
  });
});

/** |a - b| within 1e-4 of the largest value. */
function expectClose(a: NdArray<"float32">, b: NdArray<"float32">): void {
  expect(a.shape).toEqual(b.shape);
  const scale = Math.max(1, ...b.data.map(Math.abs));
  const worst = Math.max(0, ...a.data.map((value, i) => Math.abs(value - b.data[i]!) / scale));
  expect(worst).toBeLessThan(1e-4);
}

/** The slope of the loss along a random direction against the gradient's. */
function expectSlope(
  inputs: readonly NdArray<"float32">[],
  cotangent: NdArray<"float32">,
  fn: (...inputs: T[]) => T,
  gradients: readonly NdArray<"float32">[],
  random: Random,
): void {
  const directions = inputs.map(({ data }) => random.normals(data.length));
  const step = 2e-3;
  const lossAt = (offset: number) =>
    tf.tidy(() => {
      const moved = inputs.map(({ data, shape }, i) =>
        tf.tensor(
          data.map((x, j) => x + offset * directions[i]![j]!),
          [...shape],
        ),
      );
      const output = fn(...moved).dataSync<"float32">();
      return output.reduce((sum, y, i) => sum + y * cotangent.data[i]!, 0);
    });
  const slope = (lossAt(step) - lossAt(-step)) / (2 * step);
  const predicted = gradients.reduce(
    (sum, { data }, i) => sum + data.reduce((s, g, j) => s + g * directions[i]![j]!, 0),
    0,
  );
  const size = Math.hypot(...gradients.map(({ data }) => Math.hypot(...data))) + 1;
  expect(Math.abs(slope - predicted) / size).toBeLessThan(1e-2);
}

it("every operation that can be traced can be lowered", () => {
  const missing = [...rules.keys()].filter(
    (name) => !lowerings[name] && !["ZerosLike", "OnesLike"].includes(name),
  );
  expect(missing).toEqual([]);
});
