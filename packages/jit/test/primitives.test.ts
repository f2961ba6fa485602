/** The transformer primitives against PyTorch: values and gradients, compiled and on tfjs's CPU backend. */
import "@tensorflow/tfjs-backend-cpu";
import { readFileSync } from "node:fs";
import { type NdArray, ndarray } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  attention,
  compile,
  crossEntropy,
  gelu,
  layerNorm,
  linear,
  rmsNorm,
  rope,
  silu,
  spec,
  specOf,
  swiglu,
  valueAndGrad,
} from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

type Tensors = Readonly<Record<string, tf.Tensor>>;
interface Stored {
  readonly shape: number[];
  readonly data: (number | null)[];
}
interface Golden {
  readonly inputs: Readonly<Record<string, Stored>>;
  readonly y: Stored;
  readonly cotangent: Stored;
  readonly gradients: Readonly<Record<string, Stored>>;
  /** Beside the inputs: for masks, with null where a key is hidden. */
  readonly hidden?: Stored;
  readonly target?: Stored;
}

const goldens: Readonly<Record<string, Golden>> = JSON.parse(
  readFileSync(new URL("fixtures/primitives.json", import.meta.url), "utf8"),
);

/** JSON has no infinities. */
const values = ({ data }: Stored) => data.map((x) => x ?? Number.NEGATIVE_INFINITY);
const arrayOf = (stored: Stored) => ndarray(Float32Array.from(values(stored)), stored.shape);
const constant = (stored: Stored) => tf.tensor(values(stored), stored.shape, "float32");

const primitives: Readonly<Record<string, (inputs: Tensors, golden: Golden) => tf.Tensor>> = {
  attention: ({ q, k, v }) => attention(q!, k!, v!),
  "attention scale": ({ q, k, v }) => attention(q!, k!, v!, { scale: 0.3 }),
  "attention causal": ({ q, k, v }) => attention(q!, k!, v!, { causal: true }),
  "attention bias": ({ q, k, v, bias }) => attention(q!, k!, v!, { bias: bias! }),
  "attention mask": ({ q, k, v }, { hidden }) => attention(q!, k!, v!, { bias: constant(hidden!) }),
  gelu: ({ x }) => gelu(x!),
  "gelu tanh": ({ x }) => gelu(x!, "tanh"),
  silu: ({ x }) => silu(x!),
  layerNorm: ({ x, weight, bias }) => layerNorm(x!, weight, bias, 1e-3),
  rmsNorm: ({ x, weight }) => rmsNorm(x!, weight, 1e-3),
  "rmsNorm plain": ({ x }) => rmsNorm(x!, undefined, 1e-3),
  linear: ({ x, weight, bias }) => linear(x!, weight!, bias),
  rope: ({ x, cos, sin }) => rope(x!, cos!, sin!),
  "rope interleaved": ({ x, cos, sin }) => rope(x!, cos!, sin!, { interleaved: true }),
  swiglu: ({ x }) => swiglu(x!),
  ...Object.fromEntries(
    (["none", "mean", "sum"] as const).map((reduction) => [
      `crossEntropy classes ${reduction}`,
      ({ x }: Tensors, { inputs }: Golden) =>
        crossEntropy(x!, classesOf(inputs.target!), { reduction }),
    ]),
  ),
  "crossEntropy classes smooth": ({ x }, { inputs }) =>
    crossEntropy(x!, classesOf(inputs.target!), { labelSmoothing: 0.1 }),
  "crossEntropy probabilities": ({ x }, { target }) =>
    crossEntropy(x!, constant(target!), { labelSmoothing: 0.2, reduction: "none" }),
};

const classesOf = (stored: Stored) => tf.tensor(values(stored), stored.shape, "int32");

beforeAll(async () => {
  await tf.setBackend("cpu");
});

it("has a primitive for every golden case", () => {
  expect(Object.keys(primitives)).toEqual(Object.keys(goldens));
});

describe.each([...compiledEngines, "reference" as const])("%s", (engine) => {
  it.each(Object.keys(primitives))("%s", async (name) => {
    const golden = goldens[name]!;
    const inputs = Object.fromEntries(
      Object.keys(golden.gradients).map((key) => [key, arrayOf(golden.inputs[key]!)]),
    );
    const step = await compile(
      (given) =>
        valueAndGrad((xs: Tensors) => {
          const y = primitives[name]!(xs, golden);
          return { loss: tf.sum(tf.mul(y, constant(golden.cotangent))), aux: y };
        }, given as Tensors),
      specOf(inputs),
      { engine, threads: 1 },
    );
    const { aux, gradients } = await step.run(inputs);
    step.dispose();
    expectClose(aux, golden.y);
    for (const [key, expected] of Object.entries(golden.gradients)) {
      expectClose(gradients[key]!, expected);
    }
  });
});

/** Within 1e-5 of the largest value. */
function expectClose(actual: NdArray<"float32">, expected: Stored): void {
  expect(actual.shape).toEqual(expected.shape);
  const wanted = values(expected);
  const scale = Math.max(1, ...wanted.map(Math.abs));
  const errors = Array.from(actual.data, (value, i) => Math.abs(value - wanted[i]!) / scale);
  expect(errors.every((error) => error < 1e-5)).toBe(true);
}

/** Softmax cross-entropy in doubles, its mean and the gradient: from the definition, with `[row][class]` lists. */
function crossEntropyOf(logits: readonly number[][], classes: readonly number[]) {
  const rows = logits.map((row, i) => {
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    const target = row[classes[i]!];
    if (target === undefined) return { loss: 0, slopes: row.map(() => 0) };
    const slopes = row.map((x, j) => Math.exp(x) / total - Number(j === classes[i]));
    return { loss: Math.log(total) - target, slopes };
  });
  return {
    loss: rows.reduce((sum, { loss }) => sum + loss, 0) / rows.length,
    slopes: rows.flatMap(({ slopes }) => slopes.map((slope) => slope / rows.length)),
  };
}

it.each([...compiledEngines, "reference" as const])(
  "crossEntropy leaves out hidden classes, and rows of a class that there is not: %s",
  async (engine) => {
    const hidden = Number.NEGATIVE_INFINITY;
    const logits = [
      [0.5, hidden, -1.2],
      [2, 0.3, hidden],
      [0.1, 0.2, 0.3],
      [1, hidden, 2],
      [-1, 0, 4],
    ];
    const classes = [2, 0, -1, 3, -4];
    const x = ndarray(Float32Array.from(logits.flat()), [5, 3]);
    const target = ndarray(Int32Array.from(classes), [5], "int32");
    const step = await compile(
      ({ x, target }) => valueAndGrad((x: tf.Tensor) => crossEntropy(x, target), x),
      specOf({ x, target }),
      { engine, threads: 1 },
    );
    const { value, gradients } = await step.run({ x, target });
    step.dispose();
    const { loss, slopes } = crossEntropyOf(logits, classes);
    expectClose(value, { shape: [], data: [loss] });
    expectClose(gradients, { shape: [5, 3], data: slopes });
  },
);

/** Primitives whose gradient is made of primitives. */
const twice: Readonly<Record<string, (x: tf.Tensor) => tf.Tensor>> = {
  gelu: (x) => gelu(x),
  layerNorm: (x) => layerNorm(x, tf.tensor1d([1, 2, -1, 0.5]), undefined, 0.1),
  rmsNorm: (x) => rmsNorm(x, tf.tensor1d([1, 2, -1, 0.5]), 0.1),
};

it.each(Object.keys(twice))("differentiates %s twice", async (name) => {
  // The square of the first gradient, along a line: its slope against its difference.
  const squared = (x: tf.Tensor) => {
    const loss = (x: tf.Tensor) => tf.sum(tf.square(tf.add(twice[name]!(x), x))) as tf.Tensor;
    return tf.sum(tf.square(valueAndGrad(loss, x).gradients));
  };
  const step = await compile((x: tf.Tensor) => valueAndGrad(squared, x), spec([2, 4]));
  const at = (t: number) =>
    step.run(
      ndarray(
        Float32Array.from(line, ([x, direction]) => x! + t * direction!),
        [2, 4],
      ),
    );
  const line = [0.3, -1.2, 0.8, 2, -0.5, 1.5, 0.1, -0.7].map((x, i) => [x, Math.cos(i)]);
  const difference = (await at(0.01)).value.data[0]! - (await at(-0.01)).value.data[0]!;
  const { gradients } = await at(0);
  step.dispose();
  const slope = gradients.data.reduce((sum, g, i) => sum + g * line[i]![1]!, 0);
  expect(Math.abs(slope)).toBeGreaterThan(0.1);
  expect(slope / (difference / 0.02)).toBeCloseTo(1, 2);
});

it("names what does not fit", () => {
  const zeros = (...shape: number[]) => tf.zeros(shape);
  expect(() => attention(zeros(1, 2, 3, 4), zeros(1, 2, 5, 4), zeros(1, 2, 6, 4))).toThrow(
    /^attention: expected .* got \[1,2,3,4\], \[1,2,5,4\] and \[1,2,6,4\]/,
  );
  const q = zeros(1, 2, 3, 4);
  expect(() => attention(q, q, q, { bias: zeros(2, 3) })).toThrow(
    /^attention bias: expected what broadcasts to \[1,2,3,3\], got \[2,3\]/,
  );
  expect(() => rope(q, zeros(3, 4), zeros(3, 4))).toThrow(/^rope: expected .* got \[1,2,3,4\]/);
  expect(() => swiglu(zeros(2, 3))).toThrow(/^swiglu: expected an even last axis, got \[2,3\]/);
  expect(() => crossEntropy(zeros(2, 3), zeros(2))).toThrow(
    /^crossEntropy of logits \[2,3\]: expected int32 classes \[2\] or float32 probabilities \[2,3\], got float32 \[2\]/,
  );
  expect(() => crossEntropy(q, q, { labelSmoothing: 2 })).toThrow(
    /labelSmoothing: expected 0 to 1, got 2/,
  );
});
