/** Reads the fixtures that tools/golden/aligntok-{resize,stages,vae}.py wrote, and compares with them. */
import { fileURLToPath } from "node:url";
import { loadParameters } from "@aligntok/checkpoint";
import type { Images, NdArray, Parameters } from "@aligntok/core";
import { type ViTConfig, vitModels } from "@aligntok/encoders";
import { conv2d } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import type { DecoderConfig, Perceptual, TokenizerConfig } from "../src/index.ts";
import "@tensorflow/tfjs-backend-cpu";

await tf.setBackend("cpu");

export const encoder: ViTConfig = {
  ...vitModels.vit_tiny_patch16_224,
  patchSize: 4,
  imageSize: 16,
  width: 8,
  depth: 2,
  heads: 2,
  hiddenWidth: 16,
  classes: 0,
  transform: { resize: 16, filter: "bicubic", crop: 16 },
};

export const decoder: DecoderConfig = {
  latent: 4,
  channels: 4,
  multipliers: [1, 2],
  blocks: 1,
  attention: [1],
  groups: 2,
  pixelShuffle: 2,
};

export const tokenizer: TokenizerConfig = { encoder, decoder };

export const discriminator = { channels: 4, layers: 2 };

export function readGolden(name: string): Promise<Parameters> {
  return loadParameters(fileURLToPath(new URL(`./fixtures/${name}.safetensors`, import.meta.url)));
}

/** The entries under a prefix, without it. */
export function under(params: Parameters, prefix: string): Record<string, NdArray<"float32">> {
  return Object.fromEntries(
    Object.entries(params)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, array]) => [name.slice(prefix.length), array]),
  );
}

/** The entries of which the first dotted part is one of `parts`. */
export function parts(
  params: Parameters,
  names: readonly string[],
): Record<string, NdArray<"float32">> {
  return Object.fromEntries(
    Object.entries(params).filter(([name]) => names.includes(name.split(".")[0]!)),
  );
}

export function toTensors(params: Parameters): Record<string, tf.Tensor> {
  return Object.fromEntries(Object.entries(params).map(([name, array]) => [name, toTensor(array)]));
}

export function toTensor({ data, shape }: NdArray<"float32">): tf.Tensor {
  return tf.tensor(data, [...shape], "float32");
}

/** Largest difference over the largest magnitude, each in the whole array. */
export function relativeError(actual: ArrayLike<number>, expected: NdArray<"float32">): number {
  let difference = 0;
  let magnitude = 1e-12;
  expect(actual.length).toBe(expected.data.length);
  for (let i = 0; i < actual.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected.data[i]!));
    magnitude = Math.max(magnitude, Math.abs(expected.data[i]!));
    if (Number.isNaN(actual[i]!)) return Number.NaN;
  }
  return difference / magnitude;
}

export function expectNear(
  actual: tf.Tensor,
  expected: NdArray<"float32">,
  tolerance = 1e-4,
): void {
  expect(actual.shape).toEqual(expected.shape);
  expect(relativeError(actual.dataSync(), expected)).toBeLessThan(tolerance);
}

/** Both have the same names, and each array is near. */
export function expectAllNear(
  actual: TensorParameters,
  expected: Parameters,
  tolerance = 1e-4,
): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  const scale = Math.max(
    ...Object.values(expected).flatMap(({ data }) => Array.from(data, Math.abs)),
  );
  for (const [name, array] of Object.entries(expected)) {
    const values = actual[name]!.dataSync();
    // Gradients that are zero in exact arithmetic, such as a bias before a normalisation, are noise: judge them by the largest of all.
    const noise = array.data.every((x) => Math.abs(x) < 1e-6 * scale);
    if (noise) expect(Math.max(...values.map(Math.abs)), name).toBeLessThan(1e-5 * scale);
    else expect(relativeError(values, array), name).toBeLessThan(tolerance);
  }
}

/** Back to the bytes that a script made its images of. */
export function toBytes({ data, shape }: NdArray<"float32">): Images {
  const [n, c, h, w] = shape as [number, number, number, number];
  const bytes = new Uint8Array(data.length);
  for (let i = 0; i < bytes.length; i++) {
    const [channel, pixel] = [i % c, Math.floor(i / c)];
    const plane = (Math.floor(pixel / (h * w)) * c + channel) * h * w;
    bytes[i] = Math.round((data[plane + (pixel % (h * w))]! + 1) * 127.5);
  }
  return { dtype: "uint8", shape: [n, h, w, c], data: bytes };
}

/** Root of the mean square. */
function size(data: ArrayLike<number>): number {
  return Math.sqrt(Array.from(data).reduce((sum, x) => sum + x * x, 0) / data.length);
}

/**
 * Weights near to 1e-3, and the changes that the steps made near, too. The gradient of a key's bias is zero but for
 * rounding, of which Adam makes a full step of either sign: it says nothing.
 */
export function expectTrained(actual: Parameters, expected: Parameters, before: Parameters): void {
  for (const [name, array] of Object.entries(expected)) {
    const third = array.data.length / 3;
    const isKey = (i: number) =>
      name.endsWith(".k.bias") || (name.endsWith(".qkv.bias") && i >= third && i < 2 * third);
    const told = (data: ArrayLike<number>) => Float32Array.from(data, (x, i) => (isKey(i) ? 0 : x));
    const [own, wanted, old] = [actual[name]!, array, before[name]!].map(({ data }) => told(data));
    expect(
      relativeError(own!, { ...array, data: wanted! } as NdArray<"float32">),
      name,
    ).toBeLessThan(1e-3);
    const change = wanted!.map((x, i) => x - old![i]!);
    const difference = wanted!.map((x, i) => x - own![i]!);
    expect(size(difference), `change of ${name}`).toBeLessThanOrEqual(1e-3 * size(change));
  }
}

/** The script's stand-in for LPIPS: mean squared difference behind one frozen convolution. */
export function convolutionPerceptual(weight: NdArray<"float32">): Perceptual {
  return {
    name: "convolution",
    parameters: { weight },
    distance(params, x, y) {
      const difference = tf.sub(
        conv2d(x, params.weight!, { padding: 1 }),
        conv2d(y, params.weight!, { padding: 1 }),
      );
      return tf.mean(tf.square(difference));
    },
  };
}
