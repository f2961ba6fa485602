/** What tracing leaves behind (nothing) and what it refuses. No tfjs backend is loaded in the first tests. */
import { ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  compile,
  conv2d,
  engines,
  linear,
  spec,
  stopGradient,
  valueAndGrad,
} from "../src/index.ts";
import { trace } from "../src/trace/trace.ts";

const x = ndarray(Float32Array.of(1, 2), [2]);
const traceOf = (fn: (x: Tensor) => unknown, shape: number[] = [2]) => trace(fn, spec(shape));
const reference = { engine: "reference" } as const;

describe("without a backend that computes", () => {
  it("compiles, and leaves none active", async () => {
    const step = await compile((x: Tensor) => tf.add(x, 1), spec([2]));
    expect(await step.run(x)).toEqual(ndarray(Float32Array.of(2, 3), [2]));
    expect(tf.engine().backendName).toBeFalsy();
    step.dispose();
  });

  it("says that an eager call needs one, and that the reference engine does", async () => {
    expect(() => tf.add(tf.tensor1d([1]), 1)).toThrow(/no tfjs backend is loaded/);
    await expect(compile((x: Tensor) => x, spec([2]), reference)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/npm install @tensorflow\/tfjs-backend-cpu/),
    });
    const reports = await engines();
    expect(reports.map(({ name }) => name)).toEqual(["onnxruntime", "tensorflow", "reference"]);
    expect(reports[0]!.available).toBe(true);
    expect(reports[2]!.available).toBe(false);
    expect(reports[0]!.detail).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it("lets the next eager call choose a backend loaded later", async () => {
    await import("@tensorflow/tfjs-backend-cpu");
    traceOf((x) => tf.add(x, 1));
    expect(Array.from(tf.add(tf.tensor1d([1]), 1).dataSync())).toEqual([2]);
    expect(tf.getBackend()).toBe("cpu");
    const step = await compile((x: Tensor) => tf.add(x, 1), spec([2]), reference);
    expect(await step.run(x)).toEqual(ndarray(Float32Array.of(2, 3), [2]));
    expect((await engines())[2]).toMatchObject({ available: true, detail: "plain tfjs on cpu" });
  });
});

it("restores the active backend, the stack limit and the number of tensors, also after an error", () => {
  const [tensors, limit] = [tf.memory().numTensors, Error.stackTraceLimit];
  traceOf((x) => valueAndGrad((x: Tensor) => tf.sum(tf.exp(x)), x));
  expect(tf.memory().numTensors).toBe(tensors);
  expect(() =>
    traceOf((x) =>
      valueAndGrad(() => {
        throw new RangeError("mine");
      }, tf.exp(x)),
    ),
  ).toThrow(new RangeError("mine"));
  expect(tf.getBackend()).toBe("cpu");
  expect(Error.stackTraceLimit).toBe(limit);
  expect(Array.from(tf.square(tf.tensor1d([3])).dataSync())).toEqual([9]);
});

it("compiles several functions at once", async () => {
  const steps = await Promise.all(
    [1, 2, 3].map((n) => compile((x: Tensor) => tf.add(x, n), spec([2]))),
  );
  const results = await Promise.all(steps.map((step) => step.run(x)));
  expect(results.map(({ data }) => Array.from(data))).toEqual([
    [2, 3],
    [3, 4],
    [4, 5],
  ]);
});

describe("refuses", () => {
  it("compile inside a traced function", async () => {
    let inner: Promise<unknown> | undefined;
    traceOf((x) => {
      inner = compile((y: Tensor) => y, spec([2]));
      inner.catch(() => {});
      return x;
    });
    await expect(inner).rejects.toThrow(/compile: called inside a traced function/);
  });

  it("an async function", () => {
    expect(() => traceOf(async (x) => x)).toThrow(/got a promise. it must not be async/);
  });

  it("tensors made outside, as operands and as outputs", () => {
    const outside = tf.tensor1d([1, 2]);
    expect(() => traceOf((x) => tf.add(x, outside))).toThrow(
      /^Add: got a tensor that was made outside of the traced function/,
    );
    expect(() => traceOf(() => ({ a: outside }))).toThrow(/^output a: got a tensor/);
    expect(() => traceOf(() => stopGradient(outside))).toThrow(/^output: got a tensor/);
  });

  it("tensors of an earlier trace", () => {
    let earlier: Tensor | undefined;
    traceOf((x) => {
      earlier = tf.keep(tf.neg(x));
      return x;
    });
    expect(() => traceOf((x) => tf.add(x, earlier!))).toThrow(/Add: got a tensor/);
  });

  it("reading values", async () => {
    expect(() => traceOf((x) => tf.scalar(x.dataSync()[0]!))).toThrow(/values are not known/);
    let read: Promise<unknown> | undefined;
    traceOf((x) => {
      read = x.data();
      read.catch(() => {});
      return x;
    });
    await expect(read).rejects.toThrow(/values are not known/);
  });

  it("outputs that are no tensors", () => {
    expect(() => traceOf(() => ({ a: 3 }))).toThrow(/^a: expected an array or tensor, .* got 3/);
  });

  it("unsupported operations, by name and line of the caller, with what to use instead", () => {
    expect(() => traceOf((x) => tf.multinomial(x as tf.Tensor1D, 3))).toThrow(
      /^operation Multinomial: .* called at .*trace\.test\.ts:\d+:\d+\)?. use random numbers drawn outside/,
    );
    expect(() => traceOf((x) => tf.bitwiseAnd(tf.cast(x, "int32"), tf.cast(x, "int32")))).toThrow(
      /^operation BitwiseAnd: .*trace\.test/,
    );
    const image = (x: Tensor) => tf.reshape(x, [1, 1, 2, 1]) as tf.Tensor4D;
    const deep = (x: Tensor) =>
      valueAndGrad(
        (x: Tensor) =>
          valueAndGrad((x: Tensor) => tf.sum(tf.localResponseNormalization(image(x))), x).value,
        x,
      );
    expect(() => traceOf(deep)).toThrow(/^operation LRN: .*trace\.test/);
  });

  it("types that an operation does not take", () => {
    const whole = (x: Tensor) => tf.cast(x, "int32");
    expect(() => traceOf((x) => tf.acos(whole(x)))).toThrow(
      /^tf\.acos: expected float32, got int32 \[2\]\. use tf\.cast, called at .*trace\.test\.ts:\d+/,
    );
    expect(() => traceOf((x) => tf.gather(x, x))).toThrow(/^tf\.gather: .*int32.*trace\.test/);
  });

  it("shapes that do not fit, where tfjs leaves them to its kernels", () => {
    const matrix = (x: Tensor) => tf.reshape(x, [1, 2]);
    expect(() => traceOf((x) => tf.matMul(matrix(x), matrix(x)))).toThrow(
      /inner dimensions, got \[1,2\] and \[1,2\], called at .*trace\.test\.ts:\d+:\d+/,
    );
    expect(() => traceOf((x) => tf.add(x, tf.ones([3])))).toThrow(
      /^tf\.add: .* shapes 2 and 3, called at .*trace\.test\.ts:\d+:\d+/,
    );
    expect(() => traceOf((x) => tf.reshape(x, [3]))).toThrow(/Size\(2\) must match/);
    expect(() => traceOf((x) => tf.concat([matrix(x), tf.reshape(x, [2, 1])], 0))).toThrow();
    expect(() => traceOf((x) => linear(x, tf.ones([3, 4])))).toThrow(/got \[2\] and \[3,4\]/);
    expect(() => traceOf((x) => conv2d(x, tf.ones([1, 1, 1, 1])))).toThrow(/got \[2\]/);
    const small = (x: Tensor) => conv2d(tf.reshape(x, [1, 1, 1, 2]), tf.ones([1, 1, 3, 3]));
    expect(() => traceOf(small)).toThrow(/holds the kernel 3x3, got 1x2 with padding 0,0,0,0/);
  });
});

it("tells equal values from equal numbers: the sign of zero, and NaN", () => {
  const constants = (values: number[]) =>
    trace(
      (x: Tensor) => tf.add(x, tf.tensor1d(Float32Array.from(values))),
      spec([values.length]),
    ).graph.nodes.filter(({ op }) => op === "Fill" || op === "Constant");
  expect(constants([0, 0])).toMatchObject([{ op: "Fill", attributes: { value: 0 } }]);
  expect(constants([-0, -0])).toMatchObject([{ op: "Fill", attributes: { value: -0 } }]);
  expect(constants([Number.NaN, Number.NaN])).toMatchObject([{ op: "Fill" }]);
  expect(constants([0, -0])).toMatchObject([{ op: "Constant" }]);
  expect(constants([1, 1, 2])).toMatchObject([{ op: "Constant" }]);
});
