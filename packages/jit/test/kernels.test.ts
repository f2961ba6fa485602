/**
 * Every kernel, compiled to ONNX Runtime (and TensorFlow where it is installed) and on tfjs's CPU backend, on random shapes: equal values, equal
 * gradients, and gradients that agree with the slope of the function (so that a wrong formula cannot hide
 * by being wrong on both engines).
 */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray, type Random, sizeOf } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  attention,
  averagePool2d,
  compile,
  conv2d,
  convTranspose2d,
  crossEntropy,
  type EngineName,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  maxPool2d,
  resizeBilinear2d,
  rmsNorm,
  rope,
  silu,
  specOf,
  swiglu,
  upsampleNearest2x,
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
const pair = (random: Random) => {
  const shape = dims(random, 3);
  const other = shape.map((n) => (random.uniform() < 0.3 ? 1 : n)).slice(random.integer(2));
  return random.uniform() < 0.5 ? [shape, other] : [other, shape];
};
const images = (random: Random, c = 1 + random.integer(3)) => [
  1 + random.integer(2),
  c,
  4 + random.integer(3),
  4 + random.integer(3),
];
const awayFromZero = (x: number) => x + Math.sign(x) * 0.2;
const positive = (x: number) => Math.abs(x) + 0.3;

const unary = (name: string, fn: (x: T) => T, options: Partial<Case> = {}): Case => ({
  name,
  fn,
  shapes: one,
  ...options,
});
const binary = (name: string, fn: (a: T, b: T) => T, options: Partial<Case> = {}): Case => ({
  name,
  fn,
  shapes: pair,
  ...options,
});
const float = (x: T) => tf.cast(x, "float32");
const flat = { differentiable: false as const };

const conv = (
  kernel: [number, number],
  stride: number,
  padding: number | [number, number, number, number],
  dilation = 1,
  groups = 1,
): Case => ({
  name: `conv2d ${kernel} stride ${stride} padding ${padding} dilation ${dilation} groups ${groups}`,
  fn: (x, w, b) => conv2d(x!, w!, { bias: b!, stride, padding, dilation, groups }),
  shapes: (r) => {
    const c = 1 + r.integer(3);
    const o = groups * (1 + r.integer(3));
    return [
      [1 + r.integer(2), groups * c, 5 + r.integer(4), 5 + r.integer(4)],
      [o, c, ...kernel],
      [o],
    ];
  },
});

const convTransposed = (
  stride: number,
  padding: number,
  outputPadding: number,
  groups: number,
): Case => ({
  name: `convTranspose2d stride ${stride} padding ${padding}, ${outputPadding} groups ${groups}`,
  fn: (x, w, b) => convTranspose2d(x!, w!, { bias: b!, stride, padding, outputPadding, groups }),
  shapes: (r) => {
    const [c, o] = [groups * (1 + r.integer(2)), 1 + r.integer(3)];
    return [[1 + r.integer(2), c, 2 + r.integer(3), 2 + r.integer(3)], [c, o, 3, 3], [o * groups]];
  },
});

const cases: Case[] = [
  unary("abs", tf.abs, { domain: awayFromZero }),
  unary("ceil", tf.ceil, flat),
  unary("floor", tf.floor, flat),
  unary("round", tf.round, flat),
  unary("sign", tf.sign, { ...flat, domain: awayFromZero }),
  unary("step", (x) => tf.step(x, 0.5), { ...flat, domain: awayFromZero }),
  unary("cos", tf.cos),
  unary("sin", tf.sin),
  unary("tan", tf.tan, { domain: (x) => Math.tanh(x) }),
  unary("exp", tf.exp),
  unary("expm1", tf.expm1),
  unary("log", tf.log, { domain: positive }),
  unary("log1p", tf.log1p, { domain: positive }),
  // Scaled up, so that a relative error near 0 would show.
  unary("log1p near 0", (x) => tf.mul(tf.log1p(tf.mul(x, 1e-5)), 1e5)),
  unary("expm1 near 0", (x) => tf.mul(tf.expm1(tf.mul(x, 1e-5)), 1e5)),
  unary("log1p far", (x) => tf.log1p(tf.mul(x, 1e5)), { domain: positive }),
  unary("neg", tf.neg),
  unary("reciprocal", tf.reciprocal, { domain: positive }),
  unary("erf", tf.erf),
  unary("elu", tf.elu, { domain: awayFromZero }),
  unary("relu", tf.relu, { domain: awayFromZero }),
  unary("relu6", tf.relu6, { domain: awayFromZero }),
  unary("leakyRelu", (x) => tf.leakyRelu(x, 0.2), { domain: awayFromZero }),
  unary("sigmoid", tf.sigmoid),
  unary("softplus", tf.softplus),
  unary("sqrt", tf.sqrt, { domain: positive }),
  unary("rsqrt", tf.rsqrt, { domain: positive }),
  unary("square", tf.square),
  unary("tanh", tf.tanh),
  unary("clipByValue", (x) => tf.clipByValue(x, -0.7, 0.7), {
    domain: (x) => Math.round(x * 5) / 5 + 0.05,
  }),
  unary("logicalNot", (x) => float(tf.logicalNot(tf.greater(x, 0))), flat),
  unary("clip of integers", (x) => float(tf.clipByValue(tf.cast(x, "int32"), -1, 1)), {
    ...flat,
    domain: (x) => x * 3 + 0.5,
  }),
  unary("cast", (x) => float(tf.cast(x, "int32")), { ...flat, domain: (x) => x * 3 + 0.5 }),
  unary("zerosLike and onesLike", (x) => tf.add(tf.mul(x, tf.onesLike(x)), tf.zerosLike(x))),
  unary("fill", (x) => tf.add(tf.reshape(x, [-1]), tf.fill([x.size], 0.5))),
  binary("add", tf.add),
  binary("sub", tf.sub),
  binary("mul", tf.mul),
  binary("div", tf.div, { domain: positive }),
  binary("maximum", tf.maximum),
  binary("minimum", tf.minimum),
  binary("pow", tf.pow, { domain: positive }),
  binary("squaredDifference", tf.squaredDifference),
  binary(
    "comparisons",
    (a, b) =>
      tf.addN(
        [
          tf.greater(a, b),
          tf.less(a, b),
          tf.greaterEqual(a, b),
          tf.lessEqual(a, b),
          tf.equal(a, b),
          tf.notEqual(a, b),
        ].map((c, i) => tf.mul(float(c), i + 1)),
      ),
    flat,
  ),
  binary(
    "logic",
    (a, b) =>
      tf.add(
        float(tf.logicalAnd(tf.greater(a, 0), tf.greater(b, 0))),
        float(tf.logicalOr(tf.greater(a, 0), tf.greater(b, 0))),
      ),
    flat,
  ),
  {
    name: "where",
    fn: (c, t, e) => tf.where(tf.greater(c!, 0), t!, e!),
    shapes: (r) => {
      const s = dims(r, 2);
      return [s, s, s];
    },
    domain: awayFromZero,
  },
  {
    name: "addN",
    fn: (a, b, c) => tf.addN([a!, b!, c!]),
    shapes: (r) => {
      const s = dims(r, 3);
      return [s, s, s];
    },
  },
  unary("sum", (x) => tf.sum(x, x.rank - 1)),
  unary("sum of squares", (x) => tf.sum(tf.square(x), 0, true)),
  unary("mean", (x) => tf.mean(x, 0, true)),
  unary("mean of all", (x) => tf.mean(x)),
  unary("max", (x) => tf.max(x, -1)),
  unary("min", (x) => tf.min(x, 0)),
  unary("prod", (x) => tf.prod(x, 0), flat),
  unary(
    "all and any",
    (x) => tf.add(float(tf.all(tf.greater(x, -1), 0)), float(tf.any(tf.greater(x, 1), 0))),
    flat,
  ),
  unary("argMax", (x) => float(tf.argMax(x, -1)), flat),
  unary("argMin", (x) => float(tf.argMin(x, 0)), flat),
  unary("cumsum", (x) => tf.cumsum(x, x.rank - 1, true, false)),
  unary("cumsum reversed", (x) => tf.cumsum(x, 0, false, true)),
  unary("softmax", (x) => tf.softmax(x)),
  unary("logSoftmax", (x) => tf.logSoftmax(x)),
  unary("reshape", (x) => tf.sin(tf.reshape(x, [-1, 1]))),
  unary("expandDims", (x) => tf.sin(tf.expandDims(x, 1))),
  unary("transpose", (x) => tf.sin(tf.transpose(x))),
  {
    name: "concat",
    fn: (a, b) => tf.concat([a!, b!], 1),
    shapes: (r) => {
      const [n, m, k] = dims(r, 3);
      return [
        [n!, m!, k!],
        [n!, m! + 1, k!],
      ];
    },
  },
  {
    name: "stack",
    fn: (a, b) => tf.stack([a!, b!], 1),
    shapes: (r) => {
      const s = dims(r, 2);
      return [s, s];
    },
  },
  {
    name: "unstack",
    fn: (x) => {
      const [a, b] = tf.unstack(x!, 1);
      return tf.sub(a!, tf.square(b!));
    },
    shapes: (r) => [[1 + r.integer(3), 2, 1 + r.integer(3)]],
  },
  {
    name: "slice",
    fn: (x) => tf.slice(x!, [1, 0, 1], [-1, 2, 1]),
    shapes: (r) => [[2 + r.integer(3), 2 + r.integer(2), 2 + r.integer(2)]],
  },
  {
    name: "split",
    fn: (x) => {
      const [a, b] = tf.split(x!, [1, 2], 1);
      return tf.mul(a!, b!);
    },
    shapes: (r) => [[1 + r.integer(3), 3, 2]],
  },
  {
    name: "pad",
    fn: (x) =>
      tf.pad(
        x!,
        [
          [1, 0],
          [0, 2],
        ],
        0,
      ),
    shapes: (r) => [dims(r, 2)],
  },
  {
    name: "mirrorPad reflect",
    fn: (x) =>
      tf.mirrorPad(
        x!,
        [
          [1, 1],
          [2, 0],
        ],
        "reflect",
      ),
    shapes: (r) => [[2 + r.integer(3), 3 + r.integer(2)]],
    ...flat,
  },
  {
    name: "mirrorPad symmetric",
    fn: (x) =>
      tf.mirrorPad(
        x!,
        [
          [1, 1],
          [2, 0],
        ],
        "symmetric",
      ),
    shapes: (r) => [[2 + r.integer(3), 3 + r.integer(2)]],
    ...flat,
  },
  { name: "tile", fn: (x) => tf.tile(x!, [2, 1, 3]), shapes: (r) => [dims(r, 3)] },
  { name: "broadcastTo", fn: (x) => tf.broadcastTo(x!, [3, 2, 4]), shapes: () => [[2, 1]] },
  unary("reverse", (x) => tf.reverse(x, 0)),
  {
    name: "gather",
    fn: (x) => tf.gather(x!, tf.tensor1d([1, 0, 1], "int32"), 1),
    shapes: (r) => [[1 + r.integer(3), 2, 1 + r.integer(3)]],
  },
  {
    name: "gather of matrix",
    fn: (x) =>
      tf.gather(
        x!,
        tf.tensor2d(
          [
            [1, 0],
            [1, 1],
          ],
          [2, 2],
          "int32",
        ),
        0,
      ),
    shapes: (r) => [[2, 1 + r.integer(3)]],
  },
  {
    name: "gather with batch",
    fn: (x) =>
      tf.gather(
        x!,
        tf.tensor2d(
          [
            [1, 0, 1],
            [0, 0, 1],
          ],
          [2, 3],
          "int32",
        ),
        1,
        1,
      ),
    shapes: () => [[2, 3, 2, 2]],
    ...flat,
  },
  unary("oneHot", (x) => float(tf.oneHot(tf.cast(tf.clipByValue(x, 0, 2), "int32"), 3)), flat),
  ...[
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ].map(
    ([ta, tb]): Case => ({
      name: `matMul ${ta} ${tb}`,
      fn: (a, b) => tf.mul(tf.matMul(a!, b!, ta, tb), 0.5),
      shapes: (r) => {
        const [m, k, n] = dims(r, 3) as [number, number, number];
        const batch = r.uniform() < 0.5 ? [] : dims(r, 1 + r.integer(2));
        return [
          [...batch, ...(ta ? [k, m] : [m, k])],
          [...batch, ...(tb ? [n, k] : [k, n])],
        ];
      },
    }),
  ),
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
    fn: (q, k, v) => attention(q!, k!, v!, { scale: 0.6 }),
    shapes: (r) => {
      const [b, h, t, s] = dims(r, 4);
      return [
        [b!, h!, t!, 4],
        [b!, h!, s!, 4],
        [b!, h!, s!, 3],
      ];
    },
  },
  ...[false, true].map(
    (causal): Case => ({
      name: `attention with bias ${causal ? "causal" : ""}`,
      fn: (q, k, v, bias) => attention(q!, k!, v!, { bias: bias!, causal }),
      shapes: (r) => {
        const [b, h, t, s] = dims(r, 4);
        const bias = r.uniform() < 0.5 ? [h!, 1, s!] : [b!, 1, t!, s!];
        return [[b!, h!, t!, 4], [b!, h!, s!, 4], [b!, h!, s!, 3], bias];
      },
    }),
  ),
  ...[false, true].map(
    (interleaved): Case => ({
      name: `rope ${interleaved ? "interleaved" : ""}`,
      fn: (x, cos, sin) => rope(x!, cos!, sin!, { interleaved }),
      shapes: (r) => {
        const [b, t, half] = dims(r, 3);
        const leading = r.uniform() < 0.5 ? [b!] : [];
        return [
          [...leading, t!, 2 * half!],
          [t!, half!],
          [t!, half!],
        ];
      },
    }),
  ),
  {
    name: "swiglu",
    fn: (x) => swiglu(x!),
    shapes: (r) => [[...dims(r, 2), 2 * (1 + r.integer(4))]],
  },
  {
    name: "crossEntropy of classes",
    fn: (x) => {
      const classes = tf.tensor2d([[0, 3, 1]], [1, 3], "int32");
      return crossEntropy(x!, classes, { labelSmoothing: 0.1, reduction: "none" });
    },
    shapes: () => [[1, 3, 4]],
  },
  conv([3, 3], 1, 1),
  conv([3, 3], 1, 0),
  conv([1, 1], 1, 0),
  conv([1, 1], 2, 0),
  conv([4, 4], 2, 1),
  conv([3, 3], 2, [0, 0, 1, 1]),
  conv([2, 2], 1, [1, 1, 0, 0]),
  conv([1, 3], 1, 2),
  conv([4, 4], 4, 0),
  conv([3, 3], 1, 1, 2),
  conv([2, 3], 1, [2, 0, 1, 3], 2),
  conv([2, 2], 2, 1, 3),
  conv([3, 3], 1, 1, 1, 2),
  conv([3, 2], 2, [0, 1, 1, 0], 1, 3),
  conv([2, 3], 1, 2, 2, 2),
  conv([1, 1], 1, 0, 1, 2),
  convTransposed(1, 0, 0, 1),
  convTransposed(2, 1, 1, 1),
  convTransposed(2, 0, 0, 2),
  convTransposed(1, 1, 0, 2),
  { name: "upsampleNearest2x", fn: (x) => upsampleNearest2x(x!), shapes: (r) => [images(r)] },
  { name: "averagePool2d", fn: (x) => averagePool2d(x!, 2), shapes: (r) => [images(r)] },
  { name: "maxPool2d", fn: (x) => maxPool2d(x!, 2), shapes: (r) => [images(r)] },
  {
    name: "resizeBilinear2d",
    fn: (x) => resizeBilinear2d(x!, [7, 3]),
    shapes: (r) => [images(r)],
    ...flat,
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
