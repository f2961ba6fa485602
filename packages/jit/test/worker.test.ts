import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it, vi } from "vitest";
import { compile, silu, spec } from "../src/index.ts";

/** Every thread that was started. */
const threads = vi.hoisted(() => [] as { ended: Promise<number>; terminate(): Promise<number> }[]);
vi.mock("node:worker_threads", async (original) => {
  const actual = await original<typeof import("node:worker_threads")>();
  class Observed extends actual.Worker {
    readonly ended: Promise<number>;
    constructor(...options: ConstructorParameters<typeof Worker>) {
      super(...options);
      this.ended = new Promise((resolve) => this.once("exit", resolve));
      threads.push(this);
    }
  }
  return { ...actual, Worker: Observed };
});

const worker = true;
const array = (...values: number[]) => ndarray(Float32Array.from(values), [values.length]);
const shared = (...values: number[]) => {
  const data = new Float32Array(new SharedArrayBuffer(values.length * 4));
  data.set(values);
  return ndarray(data, [values.length]);
};

/** Takes some tenths of a second: products of a matrix with itself. */
const side = 512;
const slow = await compile(
  ({ x, scale }: { x: Tensor; scale: Tensor }) => {
    let y = x;
    for (let i = 0; i < 150; i++) y = tf.matMul(y, x);
    return tf.mul(y, scale);
  },
  { x: spec([side, side]), scale: spec([]) },
  { worker, threads: 1 },
);
const identity = ndarray(
  Float32Array.from({ length: side * side }, (_, i) => Number(i % (side + 1) === 0)),
  [side, side],
);
const by = (factor: number) => ({ x: identity, scale: ndarray(Float32Array.of(factor), []) });

it("lets timers fire during a step", async () => {
  let beats = 0;
  const timer = setInterval(() => beats++, 10);
  const start = performance.now();
  const { data } = await slow.run(by(3));
  const took = performance.now() - start;
  clearInterval(timer);
  expect(data[0]).toBe(3);
  expect(took).toBeGreaterThan(50);
  expect(beats).toBeGreaterThan(took / 10 / 4);
});

it("rejects at once when the signal fires during a step, leaves targets alone, and works again", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  const into = ndarray(new Float32Array(side * side), [side, side]);
  const start = performance.now();
  const given = slow.run(by(3), { into, signal: controller.signal });
  const waiting = slow.run(by(4), { signal: controller.signal });
  const next = slow.run(by(5));
  setTimeout(() => controller.abort(reason), 20);
  await expect(given).rejects.toBe(reason);
  await expect(waiting).rejects.toBe(reason);
  const rejected = performance.now() - start;
  expect((await next).data[0]).toBe(5);
  expect(performance.now() - start).toBeGreaterThan(2 * rejected); // it waited for the step that was given up
  expect(into.data.every((value) => value === 0)).toBe(true);
});

it("neither takes nor changes the caller's arrays", async () => {
  const random = createRandom(0, "worker");
  const flat = random.normals(20);
  const before = flat.slice();
  const step = await compile(
    ({ a, b }: { a: Tensor; b: Tensor }) => [tf.add(a, b), a, tf.sum(b)],
    { a: spec([2, 3]), b: spec([3]) },
    { worker },
  );
  const a = ndarray(flat.subarray(3, 9), [2, 3]);
  const b = ndarray(flat.subarray(10, 13), [3]);
  const first = await step.run({ a, b });
  const second = await step.run({ a, b });
  expect(flat).toEqual(before);
  expect(second).toEqual(first);
  expect(first[1]).toEqual({ ...a, data: a.data.slice() });
  first[1]!.data.fill(0); // the caller's own
  expect((await step.run({ a, b }))[1]).toEqual(second[1]);
  step.dispose();
});

it("reads arrays in shared memory, and fills such targets", async () => {
  const double = (x: Tensor) => tf.mul(x, 2);
  const step = await compile(double, spec([3]), { worker });
  const into = shared(0, 0, 0);
  expect(await step.run(shared(1, 2, 3), { into })).toBe(into);
  expect(Array.from(into.data)).toEqual([2, 4, 6]);
  step.dispose();
});

it("is one thread, which ends with the last compiled function in it", async () => {
  const count = threads.length;
  const thread = threads.at(-1)!;
  const steps = await Promise.all(
    [1, 2, 3].map((n) => compile((x: Tensor) => tf.mul(x, n), spec([1]), { worker })),
  );
  expect(threads.length).toBe(count);
  expect(await Promise.all(steps.map(async (step) => (await step.run(array(1))).data[0]))).toEqual([
    1, 2, 3,
  ]);
  for (const step of steps) step.dispose();
  const last = slow.run(by(2));
  slow.dispose();
  expect((await last).data[0]).toBe(2);
  expect(await thread.ended).toBe(1); // terminated
});

it("says what the thread died of, and starts another", async () => {
  const negate = () => compile((x: Tensor) => tf.neg(x), spec([1]), { worker });
  const step = await negate();
  const running = step.run(array(1));
  await threads.at(-1)!.terminate();
  const error = {
    code: "unavailable",
    message: "worker thread: it ended with exit code 1. compile again, or compile without worker",
  };
  await expect(running).rejects.toMatchObject(error);
  await expect(step.run(array(1))).rejects.toMatchObject(error);
  step.dispose();
  const again = await negate();
  expect(await again.run(array(2))).toEqual(array(-2));
  again.dispose();
});

it("says when the engine refuses the graph, and when another engine is asked for", async () => {
  const integers = compile((x: Tensor) => silu(tf.cast(x, "int32")), spec([2]), { worker });
  await expect(integers).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/onnxruntime refused the graph: .*int32.*QuickGelu/),
  });
  await threads.at(-1)!.ended; // nothing is left in it
  const reference = compile((x: Tensor) => x, spec([1]), { worker, engine: "reference" });
  await expect(reference).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/^worker: expected engine onnxruntime, got reference/),
  });
});

/** Runs a script as a process of its own. */
async function runScript(script: string): Promise<{ code: number | null; output: string }> {
  const flags = ["--import", "tsx", "--conditions=@aligntok/source", "--input-type=module"];
  const child = spawn(process.execPath, [...flags, "-e", script]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
    });
  }
  const [code] = await once(child, "close");
  return { code, output };
}

it("does not keep the process alive", async () => {
  const { code, output } = await runScript(`
    import { compile, spec } from "@aligntok/jit";
    const same = await compile((x) => x, spec([1]), { worker: true });
    const { data } = await same.run({ dtype: "float32", shape: [1], data: Float32Array.of(7) });
    console.log(data[0]); // the function is not disposed`);
  expect(output.trim()).toBe("7");
  expect(code).toBe(0);
});

it("lets the process exit during a step, with the code that it wants", async () => {
  const { code, output } = await runScript(`
    import { compile, spec } from "@aligntok/jit";
    import { matMul } from "@tensorflow/tfjs-core";
    const power = (x) => Array.from({ length: 300 }).reduce((y) => matMul(y, x), x);
    const step = await compile(power, spec([512, 512]), { worker: true });
    const x = { dtype: "float32", shape: [512, 512], data: new Float32Array(512 * 512) };
    void step.run(x).then(() => console.log("it ended first"));
    void step.run(x);
    setTimeout(() => process.exit(3), 50);`);
  expect(output).toBe("");
  expect(code).toBe(3); // 134 where ONNX Runtime comes back into a thread that is gone
});

it("takes bound arrays again that could not be copied for the thread the first time", async () => {
  const [a, b] = [array(1, 2), array(3, 4)];
  const add = ({ a, b, x }: { a: Tensor; b: Tensor; x: Tensor }) => tf.add(tf.add(a, b), x);
  const bind = () => compile(add, { x: spec([2]) }, { worker, bind: { a, b } });
  const other = await compile(tf.neg, spec([1]), { worker }); // the thread stays
  a.data.slice = () => {
    throw new RangeError("Array buffer allocation failed");
  };
  await expect(bind()).rejects.toMatchObject({ code: "out-of-memory" });
  Reflect.deleteProperty(a.data, "slice");
  const compiled = await bind();
  expect([...(await compiled.run({ x: array(10, 10) })).data]).toEqual([14, 16]);
  compiled.dispose();
  other.dispose();
});
