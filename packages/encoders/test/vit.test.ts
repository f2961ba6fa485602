import { readSafetensors } from "@aligntok/checkpoint";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import {
  applyViT,
  applyViTHead,
  applyViTLayers,
  loadEncoder,
  preprocess,
  resamplePositions,
} from "../src/index.ts";
import { toTensors, useEagerBackend } from "./eager.ts";
import { fixture, formulaImages, largestDifference } from "./images.ts";

useEagerBackend();

describe.each([
  { name: "dinov2", prefix: 1 },
  { name: "dinov2-with-registers", prefix: 4 },
  { name: "vit", prefix: 1 },
  { name: "timm", prefix: 1 },
])("$name agrees with PyTorch", async ({ name, prefix }) => {
  const { tensors } = await readSafetensors(fixture(`${name}/golden.safetensors`));
  const sizes = Object.keys(tensors).filter((key) => key.startsWith("tokens/"));

  test.each(sizes.map((key) => key.slice("tokens/".length)))("at %s", async (size) => {
    const [height, width] = size.split("x").map(Number) as [number, number];
    const { config, parameters, patchSize, prefixTokens } = await loadEncoder(fixture(name));
    expect(prefixTokens).toBe(prefix);
    const grid = [height / patchSize, width / patchSize] as const;
    const params = toTensors(resamplePositions(config, parameters, grid));
    const images = formulaImages(2, height, width);
    const x = preprocess(config, tf.tensor4d(images.data, [2, height, width, 3], "float32"));

    const tokens = applyViT(config, params, x);
    const expected = tensors[`tokens/${size}`]!;
    expect(tokens.shape).toEqual(expected.shape);
    expect(largestDifference(tokens.dataSync(), expected.data as Float32Array)).toBeLessThan(1e-4);

    const [second, first] = applyViTLayers(config, params, x, [1, 0]);
    const layer0 = tensors[`layer0/${size}`]!.data as Float32Array;
    expect(largestDifference(first!.dataSync(), layer0)).toBeLessThan(1e-4);
    expect(largestDifference(second!.dataSync(), layer0)).toBeGreaterThan(0.1);

    const logits = tensors[`logits/${size}`];
    expect(config.classes).toBe(logits ? 5 : 0);
    if (logits) {
      const got = applyViTHead(params, tokens);
      expect(got.shape).toEqual(logits.shape);
      expect(largestDifference(got.dataSync(), logits.data as Float32Array)).toBeLessThan(1e-4);
    }
  });
});

test("position embeddings of another grid are refused", async () => {
  const { config, parameters } = await loadEncoder(fixture("timm"));
  expect(() => applyViT(config, toTensors(parameters), tf.zeros([1, 3, 16, 16]))).toThrow(
    /expected 5 rows for images of 16x16, got 17/,
  );
  expect(() => applyViTLayers(config, {}, tf.zeros([1, 3, 16, 16]), [2])).toThrow(
    /from 0 to 1, or -2 to -1, got 2/,
  );
});

test("a gradient reaches every parameter", async () => {
  const { config, parameters } = await loadEncoder(fixture("dinov2-with-registers"));
  const names = Object.keys(parameters);
  const x = preprocess(
    config,
    tf.tensor4d(formulaImages(1, 35, 35).data, [1, 35, 35, 3], "float32"),
  );
  const loss = (...weights: tf.Tensor[]) => {
    const params = Object.fromEntries(names.map((key, i) => [key, weights[i]!]));
    return tf.sum(tf.square(applyViT(config, params, x)));
  };
  const gradients = tf.grads(loss)(Object.values(toTensors(parameters)));
  for (const [i, gradient] of gradients.entries()) {
    const sum = tf.sum(tf.abs(gradient)).dataSync()[0]!;
    expect(sum, names[i]).toBeGreaterThan(0);
    expect(sum, names[i]).toBeLessThan(Infinity);
  }
});
