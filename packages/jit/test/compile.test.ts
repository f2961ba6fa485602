import "@tensorflow/tfjs-backend-cpu";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type NdArray, ndarray, zeros } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { InferenceSession, Tensor as OnnxTensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { compile, linear, silu, spec, specOf, valueAndGrad } from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

const array = (...values: number[]) => ndarray(Float32Array.from(values), [values.length]);
const double = await compile(({ x }: { x: Tensor }) => ({ y: tf.mul(x, 2), z: tf.neg(x) }), {
  x: spec([3]),
});

/** A least-squares fit with everything that a training step has: parameters, data, gradients. */
const fitted = { w: { weight: spec([2, 3]), bias: spec([2]) }, x: spec([4, 3]), y: spec([4, 2]) };
const fit = ({ w, x, y }: { w: { weight: Tensor; bias: Tensor }; x: Tensor; y: Tensor }) =>
  valueAndGrad(({ weight, bias }: { weight: Tensor; bias: Tensor }) => {
    return tf.mean(tf.squaredDifference(tf.tanh(linear(x, weight, bias)), y));
  }, w);
const random = createRandom(0, "compile");
const data = {
  w: { weight: ndarray(random.normals(6), [2, 3]), bias: ndarray(random.normals(2), [2]) },
  x: ndarray(random.normals(12), [4, 3]),
  y: ndarray(random.normals(8), [4, 2]),
};

describe.each([
  ...compiledEngines.map((engine) => ({ engine })),
  { engine: "onnxruntime", worker: true },
  { engine: "reference" },
] as const)("%o", (options) => {
  it("takes and gives trees of arrays of every type", async () => {
    const inputs = {
      floats: [array(1, -2)],
      nested: {
        ints: ndarray(Int32Array.of(3, 4), [2], "int32"),
        bools: ndarray(Uint8Array.of(1, 0), [2], "bool"),
      },
    };
    const step = await compile(
      ({ floats: [x], nested: { ints, bools } }) => [
        { ints: tf.add(ints, tf.scalar(1, "int32")) },
        tf.where(bools, x!, tf.zerosLike(x!)),
        tf.logicalNot(bools),
      ],
      specOf(inputs),
      options,
    );
    const [first, second, third] = (await step.run(inputs)) as unknown as [
      { ints: NdArray },
      NdArray,
      NdArray,
    ];
    expect(first.ints).toEqual({ dtype: "int32", shape: [2], data: Int32Array.of(4, 5) });
    expect(second).toEqual(array(1, 0));
    expect(third).toEqual({ dtype: "bool", shape: [2], data: Uint8Array.of(0, 1) });
    step.dispose();
  });

  it("accepts one tensor, and outputs that are inputs, twice the same, or constant", async () => {
    const step = await compile((x: Tensor) => [x, x, tf.fill([2], 7)], spec([2]), options);
    const x = array(1, 2);
    const [a, b, c] = await step.run(x);
    expect([a, b, c]).toEqual([x, x, array(7, 7)]);
    expect(a!.data).not.toBe(x.data);
    step.dispose();
  });

  it("reads views of one flat array and fills views of another in place", async () => {
    const step = await compile(fit, fitted, options);
    const expected = await step.run(data);
    const params = Float32Array.of(9, ...data.w.weight.data, ...data.w.bias.data, 9);
    const flat = new Float32Array(10).fill(5);
    const view = (of: Float32Array) => ({
      weight: ndarray(of.subarray(1, 7), [2, 3]),
      bias: ndarray(of.subarray(7, 9), [2]),
    });
    const gradients = view(flat);
    const result = await step.run({ ...data, w: view(params) }, { into: { gradients } });
    expect(result.gradients.weight).toBe(gradients.weight);
    expect(result).toEqual(expected);
    const { weight, bias } = expected.gradients;
    expect(flat).toEqual(Float32Array.of(5, ...weight.data, ...bias.data, 5));
    step.dispose();
  });

  it("repeats bit for bit", async () => {
    const step = await compile(fit, fitted, { ...options, threads: 2 });
    expect(await step.run(data)).toEqual(await step.run(data));
    step.dispose();
  });
});

it("leaves no copies of outputs that it writes into given arrays", async () => {
  const megabytes = 16;
  const step = await compile(({ x }: { x: Tensor }) => tf.neg(x), { x: spec([megabytes << 18]) });
  const arrays = { x: zeros([megabytes << 18]) };
  const into = zeros([megabytes << 18]);
  const before = process.memoryUsage().arrayBuffers;
  await step.run(arrays, { into });
  await step.run(arrays, { into });
  expect((process.memoryUsage().arrayBuffers - before) / 2 ** 20).toBeLessThan(megabytes / 2);
  step.dispose();
});

it("refuses inputs that do not match", async () => {
  const run = (inputs: object) => double.run(inputs as never);
  await expect(run({})).rejects.toThrow(
    "input x: expected float32 [3], got nothing. given: no arrays",
  );
  await expect(run({ y: array(1) })).rejects.toThrow("got nothing. given: y");
  await expect(run({ x: array(1, 2) })).rejects.toThrow(
    "input x: expected float32 [3], got float32 [2]. compile again for other shapes",
  );
  await expect(run({ x: ndarray(Int32Array.of(1, 2, 3), [3], "int32") })).rejects.toThrow(
    "input x: expected float32 [3], got int32 [3]",
  );
  await expect(run({ x: { ...array(1, 2), shape: [3] } })).rejects.toThrow(
    "input x: expected float32 [3], got data of 2 elements",
  );
  await expect(run({ x: array(1, 2, 3), extra: array(1) })).rejects.toThrow(
    "input extra: the function was compiled without it. leave it out; inputs are x",
  );
  await expect(run({ x: "text" })).rejects.toMatchObject({ code: "bad-input" });
});

it("refuses targets that do not match the outputs", async () => {
  const run = (into: object) => double.run({ x: array(1, 2, 3) }, { into });
  await expect(run({ y: array(1) })).rejects.toThrow(
    "into y: expected float32 [3], got float32 [1]",
  );
  await expect(run({ w: array(1, 2, 3) })).rejects.toThrow(
    "into w: expected no such output, got float32 [3]. outputs are y, z",
  );
});

it("does not begin a run whose signal has fired, and stays usable", async () => {
  const reason = new Error("enough");
  const x = array(1, 2, 3);
  const y = array(0, 0, 0);
  const aborted = double.run({ x }, { into: { y }, signal: AbortSignal.abort(reason) });
  await expect(aborted).rejects.toBe(reason);
  expect(y).toEqual(array(0, 0, 0));
  const controller = new AbortController();
  const first = double.run({ x });
  const second = double.run({ x }, { into: { y }, signal: controller.signal });
  controller.abort(reason); // while the first is under way
  await expect(second).rejects.toBe(reason);
  expect((await first).y).toEqual(array(2, 4, 6));
  expect(y).toEqual(array(0, 0, 0));
  expect((await double.run({ x }, { signal: new AbortController().signal })).z).toEqual(
    array(-1, -2, -3),
  );
});

it("runs calls that overlap one after the other", async () => {
  const y = array(0, 0, 0);
  const runs = [1, 2, 3].map(async (n) => {
    await double.run({ x: array(n, n, n) }, { into: { y } });
    return y.data[0];
  });
  expect(await Promise.all(runs)).toEqual([2, 4, 6]);
});

it("refuses engines that do not exist", async () => {
  const compiled = (engine: string) =>
    compile((x: Tensor) => x, spec([1]), { engine: engine as "reference" });
  await expect(compiled("torch")).rejects.toThrow(
    "engine: expected one of onnxruntime, tensorflow, reference, got torch",
  );
});

it("gives whole numbers as such, whatever their type in TypeScript", async () => {
  const step = await compile((x: Tensor) => tf.argMax(x), spec([3]));
  const place = (await step.run(
    ndarray(Float32Array.of(1, 3, 2), [3]),
  )) as NdArray as NdArray<"int32">;
  step.dispose();
  expect(place).toEqual({ dtype: "int32", shape: [], data: Int32Array.of(1) });
});

it.each(["onnxruntime", "tensorflow", "reference"] as const)(
  "refuses numbers of threads that there cannot be: %s",
  async (engine) => {
    for (const threads of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(compile((x: Tensor) => x, spec([1]), { engine, threads })).rejects.toMatchObject(
        {
          code: "bad-input",
          message: `threads: expected a whole number of at least 1, got ${threads}`,
        },
      );
    }
  },
);

it("accepts records without prototype, and no other objects", async () => {
  const inputs = Object.assign(Object.create(null), { x: array(1, 2, 3) });
  expect((await double.run(inputs)).y).toEqual(array(2, 4, 6));
  await expect(double.run(new Map() as never)).rejects.toThrow(/^tree: expected .* got Map/);
});

it("refuses element types that the graph does not know", () => {
  expect(() => specOf({ a: ndarray(Float64Array.of(1), [1], "float64") })).toThrow(
    /^a: expected float32, int32 or bool, got float64/,
  );
});

it("says when the engine refuses the graph", async () => {
  const integers = compile((x: Tensor) => silu(tf.cast(x, "int32")), spec([2]));
  await expect(integers).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/onnxruntime refused the graph: .*int32.*QuickGelu/),
  });
});

it("refuses to run after dispose, which can be called twice", async () => {
  const step = await compile((x: Tensor) => tf.neg(x), spec([2]));
  step.dispose();
  step.dispose();
  await expect(step.run(array(1, 2))).rejects.toThrow(/has been disposed/);
});

it("finishes what was asked for before it was disposed", async () => {
  const step = await compile((x: Tensor) => tf.neg(x), spec([2]));
  const runs = [step.run(array(1, 2)), step.run(array(3, 4))];
  step.dispose();
  expect(await Promise.all(runs)).toEqual([array(-1, -2), array(-3, -4)]);
});

it("saves a file that ONNX Runtime loads and runs", async () => {
  const folder = await mkdtemp(join(tmpdir(), "jit-"));
  const path = join(folder, "double.onnx");
  await double.save(path);
  const session = await InferenceSession.create(path);
  expect(session.inputNames).toEqual(["x"]);
  expect(session.outputNames).toEqual(["out:y", "out:z"]);
  const outputs = await session.run({ x: new OnnxTensor(Float32Array.of(1, 2, 3), [3]) });
  expect(outputs["out:y"]!.data).toEqual(Float32Array.of(2, 4, 6));
  await session.release();
  await rm(folder, { recursive: true });
});

it("prints its graph", () => {
  expect(String(double.graph)).toContain("%2 float32[3] = Multiply(%0, %1)");
});
