/** Convolutions large enough for the engine's blocked layout, against tfjs's CPU backend, values and gradients. */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { type Conv2dOptions, compile, conv2d, specOf, valueAndGrad } from "../src/index.ts";
import { lowerToOnnx } from "../src/onnx/lower.ts";
import { channelBlock } from "../src/run/channel-block.ts";
import { trace } from "../src/trace/trace.ts";

const random = createRandom(0, "blocked-conv");
const normals = (shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

const cases: (Omit<Conv2dOptions, "bias"> & { readonly kernel: number })[] = [
  { kernel: 3, padding: 1 },
  { kernel: 2, padding: [1, 0, 0, 1] },
  { kernel: 3, padding: 2, dilation: 2 },
  { kernel: 2, padding: 1 },
];

it.each(cases)("equals tfjs, %o", async ({ kernel, ...options }) => {
  const inputs = {
    x: normals([1, 16, 34, 33]),
    weight: normals([16, 16, kernel, kernel]),
    bias: normals([16]),
  };
  const run = async (engine: "onnxruntime" | "reference") => {
    const compiled = await compile(
      (tensors) =>
        valueAndGrad(
          ({ x, weight, bias }) => {
            const y = conv2d(x!, weight!, { bias: bias!, ...options });
            return tf.mean(tf.mul(y, tf.sin(y)));
          },
          tensors as Record<string, Tensor>,
        ),
      specOf(inputs),
      { engine },
    );
    const { value, gradients } = (await compiled.run(inputs)) as unknown as {
      value: NdArray<"float32">;
      gradients: Record<string, NdArray<"float32">>;
    };
    compiled.dispose();
    return { value, ...gradients } as Record<string, NdArray<"float32">>;
  };
  const [ours, expected] = [await run("onnxruntime"), await run("reference")];
  for (const [name, { data }] of Object.entries(expected)) {
    const scale = Math.max(...data.map(Math.abs));
    const worst = data.reduce((w, v, i) => Math.max(w, Math.abs(v - ours[name]!.data[i]!)), 0);
    expect(worst / scale, name).toBeLessThan(2e-5);
  }
});

it("is written for the engine only, not into files for others", async () => {
  const { graph } = trace(
    (({ x, w }: { x: Tensor; w: Tensor }) => conv2d(x, w, { padding: 1 })) as never,
    { x: normals([1, 16, 32, 32]), w: normals([16, 16, 3, 3]) },
  );
  const operations = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);
  const block = await channelBlock();
  expect([0, 8, 16]).toContain(block);
  expect(operations(lowerToOnnx(graph, { channelBlock: 16 }))).toContain("ReorderInput");
  expect(operations(lowerToOnnx(graph))).not.toContain("ReorderInput");
});
