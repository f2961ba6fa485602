import { ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { compile, spec } from "../src/index.ts";

const x = ndarray(Float32Array.of(1, 2), [2]);
const count = 25e12; // of pairs of numbers: 200 TB, which no address space holds

describe.each([{}, { worker: true }])("%o", (options) => {
  it.each([
    ["an output", (x: Tensor) => tf.broadcastTo(x, [count, 2])],
    ["within", (x: Tensor) => tf.sum(tf.sin(tf.broadcastTo(x, [count, 2])))],
  ])("says how much memory is wanted and what to do, and goes on: %s", async (_, fn) => {
    const step = await compile(fn, spec([2]), options);
    await expect(step.run(x)).rejects.toMatchObject({
      code: "out-of-memory",
      message: expect.stringMatching(
        /^run: expected room for 186264\.\d GB more at Expand, got [\d.]+ GB free of [\d.]+ GB\. make batches/,
      ),
    });
    await expect(step.run(x)).rejects.toMatchObject({ code: "out-of-memory" });
    step.dispose();
    const small = await compile((x: Tensor) => tf.broadcastTo(x, [2, 2]), spec([2]), options);
    expect((await small.run(x)).data).toEqual(Float32Array.of(1, 2, 1, 2));
    small.dispose();
  });

  it("says which operation failed on the values that it was given", async () => {
    const step = await compile(
      ({ x, i }: { x: Tensor; i: Tensor }) => tf.gather(x, i as tf.Tensor1D),
      { x: spec([2]), i: spec([1], "int32") },
      options,
    );
    const at = (index: number) => ({ x, i: ndarray(Int32Array.of(index), [1], "int32") });
    await expect(step.run(at(7))).rejects.toMatchObject({
      code: "bad-input",
      message: expect.stringMatching(
        /^run: onnxruntime failed at Gather: indices element out of data bounds, idx=7 [^\n]*\. check the values of the inputs$/,
      ),
    });
    expect((await step.run(at(1))).data).toEqual(Float32Array.of(2));
    step.dispose();
  });
});

// other releases of Node may read it
it.runIf(/^20\./.test(process.versions.node))(
  "names an array in shared memory, which only a worker reads",
  async () => {
    const step = await compile(({ x }: { x: Tensor }) => ({ y: tf.neg(x) }), { x: spec([2]) });
    const shared = ndarray(new Float32Array(new SharedArrayBuffer(8)) as Float32Array<never>, [2]);
    await expect(step.run({ x: shared })).rejects.toMatchObject({
      code: "bad-input",
      message: expect.stringMatching(
        /^x: expected memory of this thread, got a SharedArrayBuffer, .*worker: true/,
      ),
    });
    await expect(step.run({ x }, { into: { y: shared } })).rejects.toThrow(
      /^into y: expected memory/,
    );
    step.dispose();
  },
);
