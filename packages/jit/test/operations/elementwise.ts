/** Operations on each element by itself. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import {
  awayFromZero,
  type Domain,
  distinct,
  integers,
  narrowed,
  type Operation,
  one,
  operation,
  pair,
  positive,
  shape,
  truths,
} from "./operation.ts";

const capital = (name: string) => name[0]!.toUpperCase() + name.slice(1);

const unary = (
  name: string,
  call: (x: Tensor) => Tensor,
  { kernel, ...rest }: Partial<Operation> & { kernel?: string } = {},
): Operation =>
  operation({
    name: `tf.${name}`,
    kernels: [kernel ?? capital(name)],
    draw: one,
    call: ([x]) => call(x!),
    ...rest,
  });

const binary = (
  name: string,
  kernel: string,
  call: (a: Tensor, b: Tensor) => Tensor,
  rest: Partial<Operation> = {},
): Operation =>
  operation({
    name: `tf.${name}`,
    kernels: [kernel],
    draw: pair,
    call: ([a, b]) => call(a!, b!),
    ...rest,
  });

const flat = { gradient: false } as const;
const map = (map: (x: number) => number): { domain: Domain } => ({ domain: { map } });
/** Inside (-1, 1), where the inverses of periodic functions are. */
const inside = map((x) => 0.9 * Math.tanh(x));
/** Numbers of which some are not finite. */
const broken = map((x) => (x < -1 ? Number.NaN : Math.abs(x) > 1 ? x / 0 : x));
/** Not close to a whole number, where steps are. */
const betweenSteps = map((x) => Math.round(3 * x) + 0.3);
const whole = { ...flat, domain: integers };

export const elementwise: readonly Operation[] = [
  unary("abs", tf.abs, { domain: awayFromZero }),
  unary("acos", tf.acos, inside),
  unary(
    "acosh",
    tf.acosh,
    map((x) => 1.3 + Math.abs(x)),
  ),
  unary("asin", tf.asin, inside),
  unary("asinh", tf.asinh),
  unary("atan", tf.atan),
  unary("atanh", tf.atanh, inside),
  unary("ceil", tf.ceil, betweenSteps),
  unary("cos", tf.cos),
  unary("cosh", tf.cosh),
  unary("elu", tf.elu, { domain: awayFromZero }),
  unary("erf", tf.erf),
  unary("exp", tf.exp),
  unary("expm1", tf.expm1),
  unary("floor", tf.floor, betweenSteps),
  unary("isFinite", tf.isFinite, { ...flat, ...broken }),
  unary("isInf", tf.isInf, { ...flat, ...broken }),
  unary("isNaN", tf.isNaN, { ...flat, ...broken, kernel: "IsNan" }),
  unary("leakyRelu", (x) => tf.leakyRelu(x, 0.2), { domain: awayFromZero }),
  unary("log", tf.log, { domain: positive }),
  unary("log1p", tf.log1p, { domain: positive }),
  unary("logSigmoid", tf.logSigmoid, { kernel: "Softplus" }),
  unary("logicalNot", tf.logicalNot, { ...flat, domain: truths }),
  unary("neg", tf.neg),
  unary("onesLike", tf.onesLike, flat),
  unary("reciprocal", tf.reciprocal, { domain: positive }),
  unary("relu", tf.relu, { domain: awayFromZero }),
  unary(
    "relu6",
    tf.relu6,
    map((x) => 4 * x + Math.sign(x) * 0.2),
  ),
  unary("round", tf.round, betweenSteps),
  unary("rsqrt", tf.rsqrt, { domain: positive }),
  unary("selu", tf.selu, { domain: awayFromZero }),
  unary("sigmoid", tf.sigmoid),
  unary("sign", tf.sign, { domain: awayFromZero }),
  unary("sin", tf.sin),
  unary("sinh", tf.sinh),
  unary("softplus", tf.softplus),
  unary("sqrt", tf.sqrt, { domain: positive }),
  unary("square", tf.square),
  unary("step", (x) => tf.step(x, 0.5), { domain: awayFromZero }),
  unary("tan", tf.tan, inside),
  unary("tanh", tf.tanh),
  unary("zerosLike", tf.zerosLike, flat),
  unary(
    "clipByValue",
    (x) => tf.clipByValue(x, -0.7, 0.7),
    map((x) => Math.round(x * 5) / 5 + 0.05),
  ),
  operation({
    name: "tf.cast",
    kernels: ["Cast"],
    draw: fc.record({
      shapes: shape().map((x) => [x]),
      options: fc.constantFrom("float32", "int32", "bool"),
    }),
    domain: betweenSteps.domain,
    call: ([x], dtype) => [tf.cast(x!, dtype), tf.cast(tf.cast(x!, dtype), "float32")],
    note: "no slope to or from whole numbers and truth values",
  }),
  ...Object.entries({
    abs: tf.abs,
    neg: tf.neg,
    relu: tf.relu,
    relu6: tf.relu6,
    sign: tf.sign,
    square: tf.square,
  }).map(([name, call]) =>
    unary(name, call as (x: Tensor) => Tensor, { ...whole, name: `tf.${name} of integers` }),
  ),
  unary("clipByValue", (x) => tf.clipByValue(x, -2, 2), {
    ...whole,
    name: "tf.clipByValue of integers",
  }),

  binary("add", "Add", tf.add),
  binary("atan2", "Atan2", tf.atan2, { domain: awayFromZero }),
  binary("div", "RealDiv", tf.div, { domain: positive }),
  binary("divNoNan", "RealDiv", tf.divNoNan, { domain: positive }),
  binary("floorDiv", "FloorDiv", tf.floorDiv, {
    ...flat,
    ...map((x) => Math.round(7 * x) / 2 + 0.25),
  }),
  binary("maximum", "Maximum", tf.maximum, { domain: distinct }),
  binary("minimum", "Minimum", tf.minimum, { domain: distinct }),
  binary("mod", "Mod", tf.mod, {
    // Ratios that are not close to a whole number, where the remainder jumps.
    domain: [
      { map: (x) => 3 * Math.min(3, Math.max(-2, Math.round(2 * x))) + 1 },
      { map: (x) => (x > 0 ? 1.6 : -2.7) },
    ],
  }),
  binary("mul", "Multiply", tf.mul),
  binary("pow", "Pow", tf.pow, { domain: positive }),
  binary("prelu", "Prelu", tf.prelu, { domain: awayFromZero }),
  binary("squaredDifference", "SquaredDifference", tf.squaredDifference),
  binary("sub", "Sub", tf.sub),
  ...Object.entries({
    add: tf.add,
    floorDiv: tf.floorDiv,
    maximum: tf.maximum,
    minimum: tf.minimum,
    mod: tf.mod,
    multiply: tf.mul,
    squaredDifference: tf.squaredDifference,
    sub: tf.sub,
  }).map(([name, call]) =>
    binary(name, capital(name), call as (a: Tensor, b: Tensor) => Tensor, {
      ...flat,
      // Never 0, by which integers cannot be divided.
      domain: { dtype: "int32", map: (x: number) => 2 * Math.round(3 * x) + 1 },
      name: `tf.${name} of integers`,
    }),
  ),
  ...Object.entries({
    equal: tf.equal,
    notEqual: tf.notEqual,
    greater: tf.greater,
    greaterEqual: tf.greaterEqual,
    less: tf.less,
    lessEqual: tf.lessEqual,
  }).flatMap(([name, call]) => [
    // Rounded, so that some are equal.
    binary(name, capital(name), call, { ...flat, domain: { map: Math.round } }),
    binary(name, capital(name), call, { ...whole, name: `tf.${name} of integers` }),
  ]),
  binary("equal", "Equal", tf.equal, { ...flat, domain: truths, name: "tf.equal of truth values" }),
  ...Object.entries({
    logicalAnd: tf.logicalAnd,
    logicalOr: tf.logicalOr,
    logicalXor: tf.logicalXor,
  }).map(([name, call]) => {
    const kernels =
      name === "logicalXor" ? ["LogicalAnd", "LogicalOr", "LogicalNot"] : [capital(name)];
    return binary(name, "", call, { ...flat, kernels, domain: truths });
  }),
  operation({
    name: "tf.addN",
    kernels: ["AddN"],
    draw: fc
      .tuple(shape(), fc.integer({ min: 1, max: 4 }))
      .map(([x, n]) => ({ shapes: Array.from({ length: n }, () => x), options: undefined })),
    call: (xs) => tf.addN([...xs]),
  }),
  ...[
    ["tf.where", {}] as const,
    ["tf.where of integers", integers] as const,
    ["tf.where of truth values", truths] as const,
  ].map(([name, domain]) =>
    operation({
      name,
      kernels: ["Select"],
      draw: shape(1, 3)
        .chain((whole) => fc.tuple(narrowed(whole), fc.constant(whole), narrowed(whole)))
        .map((shapes) => ({ shapes, options: undefined })),
      domain: [truths, domain, domain],
      call: ([condition, t, e]) => tf.where(condition!, t!, e!),
      ...(name !== "tf.where" && flat),
    }),
  ),
];
