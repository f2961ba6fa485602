/**
 * Every operation on random shapes and options, on every engine that is there: values, shapes and types as on tfjs's
 * CPU backend, gradients as there and as the slope of the function, so that a wrong formula cannot hide by being
 * wrong everywhere.
 *
 * `JIT_RUNS=100 JIT_SEED=7 npx vitest run packages/jit/test/generated.test.ts` tries more.
 */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { compile, type EngineName, specOf, valueAndGrad } from "../src/index.ts";
import { lowerings } from "../src/onnx/lower.ts";
import { rules } from "../src/trace/kernel.ts";
import { compiledEngines } from "./engines-here.ts";
import { corners } from "./operations/corners.ts";
import { families } from "./operations/index.ts";
import { fillInputs, type Operation } from "./operations/operation.ts";

const parameters = {
  numRuns: Number(process.env.JIT_RUNS ?? 6),
  seed: Number(process.env.JIT_SEED ?? 1),
};
beforeAll(async () => {
  await tf.setBackend("cpu");
});

const asList = (x: Tensor | readonly Tensor[]) => (Array.isArray(x) ? x : [x]) as Tensor[];
const isFloat = ({ dtype }: { readonly dtype: string }) => dtype === "float32";

for (const [family, operations] of Object.entries({ ...families, corners })) {
  describe(family, () => {
    it.each([...operations])("$name", async (operation) => {
      const trial = fc.tuple(operation.draw, fc.nat(1000));
      await fc.assert(
        fc.asyncProperty(trial, ([{ shapes, options }, seed]) => {
          const { domain = {} } = operation;
          const inputs = fillInputs(shapes, { domain, seed });
          return tryOut(operation, { inputs, options, seed });
        }),
        parameters,
      );
    });
  });
}

it("every kernel that a graph can hold can be lowered", () => {
  const folded = ["ZerosLike", "OnesLike"]; // fills, after the passes
  const missing = [...rules.keys()].filter((name) => !lowerings[name] && !folded.includes(name));
  expect(missing).toEqual([]);
});

interface Trial {
  readonly inputs: readonly NdArray[];
  readonly options: unknown;
  readonly seed: number;
}

async function tryOut(operation: Operation, { inputs, options, seed }: Trial): Promise<void> {
  const { call, gradient = true } = operation;
  const eager = (arrays: readonly NdArray[]): NdArray[] => {
    tf.engine().startScope();
    const outputs = asList(call(arrays.map(toTensor), options)).map(toArray);
    tf.engine().endScope();
    return outputs;
  };
  const expected = eager(inputs);
  const random = createRandom(seed, "weights");
  // The loss is a random combination of the outputs, so that every output counts.
  const weights = expected.map(({ shape, data }) => ndarray(random.normals(data.length), shape));
  const moving = inputs.flatMap((input, i) => (isFloat(input) ? [i] : []));
  const program = ({ xs, ws }: { xs: readonly Tensor[]; ws: readonly Tensor[] }) => {
    const outputs = (given: readonly Tensor[]) =>
      asList(
        call(
          xs.map((x, i) => given[moving.indexOf(i)] ?? x),
          options,
        ),
      );
    if (!gradient) return { aux: outputs([]), gradients: [] };
    return valueAndGrad(
      (given: readonly Tensor[]) => {
        const ys = outputs(given);
        const terms = ys.flatMap((y, i) => (isFloat(y) ? [tf.sum(tf.mul(y, ws[i]!))] : []));
        return { loss: tf.addN(terms) as Tensor, aux: ys };
      },
      moving.map((i) => xs[i]!),
    );
  };
  const given = { xs: inputs, ws: weights };
  const run = async (engine: EngineName) => {
    const step = await compile(program, specOf(given), { engine, threads: 1 });
    const result = await step.run(given as never);
    step.dispose();
    return result as unknown as { aux: NdArray[]; gradients: NdArray[] };
  };
  const slopes = gradient ? (await run("reference")).gradients : [];
  if (gradient) {
    const slope = (arrays: readonly NdArray[]) =>
      eager(arrays).reduce(
        (total, y, i) =>
          isFloat(y) ? total + dot(y.data as Float32Array, weights[i]!.data) : total,
        0,
      );
    expectSlope(slope, { inputs, moving, slopes, random });
  }
  for (const engine of compiledEngines) {
    const { aux, gradients } = await run(engine);
    for (const [i, y] of expected.entries()) expectClose(aux[i]!, y);
    for (const [i, slope] of slopes.entries()) expectClose(gradients[i]!, slope);
  }
}

const toArray = (tensor: Tensor) =>
  ({ dtype: tensor.dtype, shape: tensor.shape, data: tensor.dataSync() }) as NdArray;

/** With a copy of the numbers: tfjs's tensorScatterUpdate writes into its input. */
function toTensor({ data, shape, dtype }: NdArray): Tensor {
  return tf.tensor(data.slice() as Float32Array, [...shape], dtype as "float32");
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Equal shapes and types; |a - b| within 2e-5 of the largest value. */
function expectClose(a: NdArray, b: NdArray): void {
  expect([a.dtype, a.shape]).toEqual([b.dtype, b.shape]);
  const [actual, expected] = [a.data as Float32Array, b.data as Float32Array];
  const finite = expected.filter(Number.isFinite).map(Math.abs);
  const bound = 2e-5 * finite.reduce((x, y) => Math.max(x, y), 1);
  for (const [i, value] of expected.entries()) {
    if (Object.is(value, actual[i]) || Math.abs(value - actual[i]!) <= bound) continue;
    expect.fail(`element ${i} of [${b.shape}]: expected ${value}, got ${actual[i]}`);
  }
}

/** The change of the loss along a random direction, from four points of it, against what the gradient predicts. */
function expectSlope(
  loss: (inputs: readonly NdArray[]) => number,
  {
    inputs,
    moving,
    slopes,
    random,
  }: {
    readonly inputs: readonly NdArray[];
    readonly moving: readonly number[];
    readonly slopes: readonly NdArray[];
    readonly random: ReturnType<typeof createRandom>;
  },
): void {
  const directions = moving.map((i) =>
    Float64Array.from(inputs[i]!.data as Float32Array, () => 2 * random.uniform() - 1),
  );
  const step = 0.01;
  const at = (offset: number) =>
    loss(
      inputs.map((input, i) => {
        const direction = directions[moving.indexOf(i)];
        if (!direction) return input;
        const moved = (input.data as Float32Array).map((x, j) => x + offset * direction[j]!);
        return ndarray(moved, input.shape);
      }),
    );
  const near = at(step) - at(-step);
  const far = at(2 * step) - at(-2 * step);
  const slope = (8 * near - far) / (12 * step);
  const predicted = slopes.reduce(
    (sum, { data }, i) => sum + dot(data as Float32Array, directions[i]!),
    0,
  );
  const size = Math.sqrt(
    slopes.reduce((sum, { data }) => sum + dot(data as Float32Array, data as Float32Array), 0),
  );
  expect(Math.abs(slope - predicted) / (1 + size)).toBeLessThan(2e-3);
}
