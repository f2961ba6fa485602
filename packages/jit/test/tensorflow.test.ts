/** What is particular to the TensorFlow engine; that it computes the same is in kernels.test.ts and programs.test.ts. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  averagePool2d,
  compile,
  compileStateful,
  conv2d,
  engines,
  linear,
  spec,
  specOf,
  valueAndGrad,
} from "../src/index.ts";
import { loadTensorFlow } from "../src/run/tensorflow-binding.ts";
import { noTensorFlow } from "./engines-here.ts";

// TypeScript knows it in browsers only.
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer };
};

const engine = "tensorflow";

afterEach(() => vi.unstubAllEnvs());

describe("where it is missing", () => {
  const attempt = () => compile((x: Tensor) => tf.neg(x), spec([1]), { engine });

  it("says what to install", async () => {
    const folder = await mkdtemp(join(tmpdir(), "jit-"));
    vi.stubEnv("ALIGNTOK_TENSORFLOW", folder);
    await expect(attempt()).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(
        /^engine tensorflow: no tfjs-node in ALIGNTOK_TENSORFLOW=.*npm install @tensorflow\/tfjs-node.*npm run setup:tensorflow/,
      ),
    });
    const report = (await engines()).find(({ name }) => name === engine);
    expect(report).toMatchObject({ available: false });
    await rm(folder, { recursive: true });
  });

  it("tells a package whose install script has not run, and an addon that does not load", async () => {
    const folder = await mkdtemp(join(tmpdir(), "jit-"));
    vi.stubEnv("ALIGNTOK_TENSORFLOW", folder);
    const installed = join(folder, "node_modules/@tensorflow/tfjs-node");
    await mkdir(join(installed, "lib/napi-v8"), { recursive: true });
    await writeFile(join(installed, "package.json"), '{"version":"4.22.0"}');
    await expect(attempt()).rejects.toThrow(/has no native part: its install script has not run/);
    await writeFile(join(installed, "lib/napi-v8/tfjs_binding.node"), "not a library");
    await expect(attempt()).rejects.toThrow(/tfjs-node 4\.22\.0 does not load: .*npm install/);
    await rm(folder, { recursive: true });
  });
});

it("is the only engine that has bfloat16", async () => {
  const attempt = compile((x: Tensor) => tf.neg(x), spec([1]), { precision: "bfloat16" });
  await expect(attempt).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(
      /^precision bfloat16: expected engine tensorflow, got onnxruntime/,
    ),
  });
});

describe.skipIf(noTensorFlow)("where it is installed", () => {
  it("has one number of threads a process", async () => {
    const first = await compile((x: Tensor) => tf.neg(x), spec([1]), { engine, threads: 1 });
    first.dispose();
    const second = compile((x: Tensor) => tf.neg(x), spec([1]), { engine, threads: 64 });
    await expect(second).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/^threads: expected 1, .* got 64\. /),
    });
  });

  it("refuses options that it would not heed", async () => {
    const attempt = compile((x: Tensor) => tf.neg(x), spec([1]), { engine, cache: "folder" });
    await expect(attempt).rejects.toThrow(/^cache: expected engine onnxruntime, got tensorflow/);
  });

  it("computes with every layout of memory that arrays come in", async () => {
    const step = await compile((x: Tensor) => tf.mul(x, 2), spec([3]), { engine });
    const memory = new Float32Array(64).map((_, i) => i);
    for (const offset of [0, 1, 16, 17]) {
      const x = ndarray(memory.subarray(offset, offset + 3), [3]);
      const y = ndarray(memory.subarray(40, 43), [3]);
      expect(await step.run(x, { into: y })).toBe(y);
      expect([...y.data]).toEqual([offset * 2, offset * 2 + 2, offset * 2 + 4]);
    }
    step.dispose();
  });

  it("keeps bound weights as they were given, whatever becomes of the caller's arrays", async () => {
    const random = createRandom(0, "bound");
    // Aligned to a page: such memory TensorFlow takes over as it is, without a copy of its own.
    const memory = new Float32Array(new WebAssembly.Memory({ initial: 1 }).buffer, 0, 64 * 64);
    memory.set(random.normals(64 * 64));
    const weight = ndarray(memory, [64, 64]);
    const x = ndarray(random.normals(64), [1, 64]);
    const apply = ({ weight, x }: { weight: Tensor; x: Tensor }) => linear(x, weight);
    const step = await compile(apply, { x: spec([1, 64]) }, { engine, bind: { weight } });
    const before = await step.run({ x });
    weight.data.fill(0);
    expect(await step.run({ x })).toEqual(before);
    step.dispose();
  });

  it("frees what it makes, also after an error", async () => {
    const binding = (await loadTensorFlow()) as unknown as Record<string, () => number>;
    const held = () => [binding.getNumOfTensors!(), binding.getNumOfSavedModels!()];
    const before = held();
    const program = await compileStateful(
      ({ state, i }: { state: Tensor; i: Tensor }) => ({
        state: tf.add(state, 1),
        outputs: tf.gather(state, i as tf.Tensor1D),
      }),
      { state: ndarray(Float32Array.of(1, 2), [2]), inputs: { i: spec([1], "int32") } },
      { engine },
    );
    const at = (index: number) => ({ i: ndarray(Int32Array.of(index), [1], "int32") });
    await program.run(at(1));
    await expect(program.run(at(7))).rejects.toMatchObject({
      code: "bad-input",
      message: expect.stringMatching(
        /^run: tensorflow failed at GatherV2: indices\[0\] = 7 is not in \[0, 2\)\. check the values/,
      ),
    });
    await program.readState();
    program.dispose();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(held()).toEqual(before);
  });

  it("says how much memory is wanted", async () => {
    const wide = (x: Tensor) => tf.sum(tf.sin(tf.broadcastTo(x, [25e6, 1e6])));
    const step = await compile(wide, spec([1]), { engine });
    await expect(step.run(ndarray(Float32Array.of(1), [1]))).rejects.toMatchObject({
      code: "out-of-memory",
      message: expect.stringMatching(
        /^run: expected room for shape\[25000000,1000000\] and type float at BroadcastTo, got [\d.]+ GB free/,
      ),
    });
    step.dispose();
  });

  it("multiplies in bfloat16 on request, forward and backward", async () => {
    const random = createRandom(0, "bfloat16");
    const given = {
      x: ndarray(random.normals(2 * 3 * 64), [2, 3, 8, 8]),
      w: ndarray(random.normals(4 * 27), [4, 3, 3, 3]),
      m: ndarray(random.normals(64 * 5), [5, 64]),
    };
    type Given = Record<keyof typeof given, Tensor>;
    const fn = (inputs: Given) =>
      valueAndGrad(({ x, w, m }: Given) => {
        const y = tf.reshape(conv2d(x, w, { padding: 1 }), [2, 4, 64]);
        return tf.mean(tf.square(linear(y, m))) as Tensor;
      }, inputs);
    const run = async (precision: "float32" | "bfloat16") => {
      const step = await compile(fn, specOf(given), { engine, precision });
      const { value, gradients } = await step.run(given);
      step.dispose();
      return [value, ...Object.values(gradients)];
    };
    const [exact, narrow] = [await run("float32"), await run("bfloat16")];
    for (const [i, { data }] of exact.entries()) {
      const error =
        Math.hypot(...data.map((x, j) => x - narrow[i]!.data[j]!)) / Math.hypot(...data);
      expect(error).toBeGreaterThan(1e-5);
      expect(error).toBeLessThan(0.02);
    }
  });

  it("refuses axes that its shapes cannot tell", async () => {
    const long = (x: Tensor) => tf.sum(tf.broadcastTo(x, [3e9]));
    await expect(compile(long, spec([1]), { engine })).rejects.toThrow(/^dimension 3000000000: /);
  });

  it("passes on what TensorFlow refuses", async () => {
    const pool = (x: Tensor) => averagePool2d(tf.cast(x, "int32"), 2);
    await expect(compile(pool, spec([1, 1, 2, 2]), { engine })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/^tensorflow refused the graph: .*'T' of int32/),
    });
  });
});
