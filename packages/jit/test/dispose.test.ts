import { ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { InferenceSession } from "onnxruntime-node";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { compile, compileStateful, spec } from "../src/index.ts";

// engines that fail when their memory is given back
const failures = vi.hoisted(() => ({ count: 0 }));
vi.mock("../src/run/engines.ts", async (original) => ({
  ...(await original<object>()),
  requireEngine: async (name: string) => name,
}));
vi.mock("../src/run/tensorflow-session.ts", () => {
  const session = {
    run: async () => new Map(),
    assign() {},
    dispose() {
      failures.count++;
      throw new Error("no such model");
    },
  };
  return { createTensorFlowSession: async () => session, openTensorFlowGraph: async () => session };
});

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => {
  failures.count = 0;
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(() => {
  process.off("unhandledRejection", note);
});

async function expectDropped() {
  await vi.waitFor(() => expect(failures.count).toBe(1));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(unhandled).toEqual([]);
}

const negate = (x: Tensor) => tf.neg(x);

it("drops what an engine throws as it gives back a function's memory", async () => {
  const compiled = await compile(negate, spec([1]), { engine: "tensorflow" });
  compiled.dispose();
  await expectDropped();
});

it("drops what an engine throws as it gives back a state", async () => {
  const program = await compileStateful(
    ({ state, x }: { state: Tensor; x: Tensor }) => ({ state: tf.add(state, x), outputs: x }),
    { state: ndarray(new Float32Array(1), [1]), inputs: { x: spec([1]) } },
    { engine: "tensorflow" },
  );
  program.dispose();
  await expectDropped();
});

it("drops what onnxruntime rejects with as it releases a session", async () => {
  const compiled = await compile(negate, spec([1]));
  const { prototype } = InferenceSession as never as { prototype: InferenceSession };
  const { release } = prototype;
  // not by a spy of vitest, which handles rejections
  prototype.release = async () => {
    prototype.release = release;
    failures.count++;
    throw new Error("no such session");
  };
  compiled.dispose();
  await expectDropped();
});
