import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadParameters, writeSafetensors } from "@aligntok/checkpoint";
import type { NdArray, Parameters } from "@aligntok/core";
import { valueAndGrad } from "@aligntok/jit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  applyLpips,
  checkLpipsParameters,
  createLpips,
  loadLpips,
  lpipsKeys,
} from "../src/index.ts";
import "@tensorflow/tfjs-backend-cpu";

await tf.setBackend("cpu");

const toTensor = ({ data, shape }: NdArray<"float32">) => tf.tensor(data, [...shape], "float32");
const readGolden = (network: string) =>
  loadParameters(fileURLToPath(new URL(`./fixtures/${network}.safetensors`, import.meta.url)));
const toTensors = (params: Parameters, names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, toTensor(params[name]!)]));

/** Largest difference over the largest magnitude. */
function relativeError(actual: tf.Tensor, { data }: NdArray<"float32">): number {
  const values = actual.dataSync();
  const largest = (array: ArrayLike<number>) => Math.max(...Array.from(array, Math.abs));
  expect(values.length).toBe(data.length);
  return largest(data.map((x, i) => x - values[i]!)) / largest(data);
}

describe.each(["vgg", "alex", "squeeze"] as const)("lpips %s", (network) => {
  it("equals PyTorch in value and gradient, at a size that pools unevenly", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    const x = toTensor(golden.x!);
    const distances = applyLpips({ network }, params, x, toTensor(golden.y!));
    expect(distances.shape).toEqual(golden.distance!.shape);
    expect(relativeError(distances, golden.distance!)).toBeLessThan(1e-5);
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, x, y)),
      toTensor(golden.y!),
    );
    expect(relativeError(gradients, golden.gradient!)).toBeLessThan(1e-4);
  });

  it("is zero between equal images, also for their gradient", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    const x = toTensor(golden.x!);
    expect(tf.max(applyLpips({ network }, params, x, x)).dataSync()[0]).toBe(0);
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, x, y)),
      x,
    );
    expect(tf.max(tf.abs(gradients)).dataSync()[0]).toBe(0);
  });

  it("has a finite gradient where every channel is dead", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    for (const name of Object.keys(params)) {
      if (name.endsWith(".bias")) params[name] = tf.fill(params[name]!.shape, -1e3);
    }
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, toTensor(golden.x!), y)),
      toTensor(golden.y!),
    );
    expect(gradients.dataSync().every(Number.isFinite)).toBe(true);
  });

  it("names weights that are missing and heads that belong to another network", async () => {
    const { "features.0.weight": _, ...incomplete } = await readGolden(network);
    expect(() => checkLpipsParameters({ network }, incomplete)).toThrow(
      /without features\.0\.weight/,
    );
    const golden = await readGolden(network);
    const strange = { ...golden, "lin1.model.1.weight": golden["lin0.model.1.weight"]! };
    expect(() => checkLpipsParameters({ network }, strange)).toThrow(/head lin1: expected shape/);
  });
});

describe("compiled", () => {
  it("gives the same distances of images, bytes or floats, from files", async () => {
    const golden = await readGolden("vgg");
    const folder = await mkdtemp(join(tmpdir(), "lpips-"));
    const [networkFile, headsFile] = ["network", "heads"].map((n) =>
      join(folder, `${n}.safetensors`),
    );
    const pick = (prefix: string) =>
      Object.fromEntries(Object.entries(golden).filter(([name]) => name.startsWith(prefix)));
    await writeSafetensors(networkFile!, { ...pick("features."), "classifier.0.bias": golden.x! });
    await writeSafetensors(headsFile!, pick("lin"));
    const weights = await loadLpips(networkFile!, headsFile!);
    expect(Object.keys(weights.parameters).sort()).toEqual(lpipsKeys({ network: "vgg" }).sort());

    const lpips = createLpips(weights);
    const toPixels = ({ data, shape }: NdArray<"float32">): NdArray<"float32"> => {
      const [n, , h, w] = shape as [number, number, number, number];
      const turned = tf.transpose(tf.tensor(data, [n, 3, h, w]), [0, 2, 3, 1]);
      return { dtype: "float32", shape: [n, h, w, 3], data: turned.dataSync() as Float32Array };
    };
    const [x, y] = [toPixels(golden.x!), toPixels(golden.y!)];
    const distances = await lpips.distance(x, y);
    expect(relativeError(tf.tensor(distances), golden.distance!)).toBeLessThan(1e-5);

    const bytes = (image: NdArray<"float32">): NdArray<"uint8"> => ({
      dtype: "uint8",
      shape: image.shape,
      data: Uint8Array.from(image.data, (value) => Math.round((value + 1) * 127.5)),
    });
    const rounded = await lpips.distance(bytes(x), bytes(y));
    expect(relativeError(tf.tensor(rounded), golden.distance!)).toBeLessThan(0.02);
    await expect(lpips.distance(x, bytes({ ...y, shape: [1, 42, 27, 3] }))).rejects.toThrow(
      /of one shape/,
    );
    lpips.dispose();
    await rm(folder, { recursive: true });
  });
});
