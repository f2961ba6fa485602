import { createRandom, type Parameters, sizeOf } from "@aligntok/core";
import { applyViTLayers } from "@aligntok/encoders";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  applyAdapter,
  applyDecoder,
  applyDiscriminator,
  applyEncoder,
  createFeaturePerceptual,
  type DecoderConfig,
  decoderShapes,
  decoderSizes,
  decoderStride,
  initAdapter,
  initDecoder,
  initDiscriminator,
} from "../src/index.ts";
import { type Interpolation, resize } from "../src/resize.ts";
import {
  decoder,
  discriminator,
  encoder,
  expectNear,
  readGolden,
  toTensor,
  toTensors,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const judge = await readGolden("discriminator");
const forward = await readGolden("forward");
const random = () => createRandom(0, "init");

const countWeights = (params: Parameters) =>
  Object.values(params).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

describe("decoder", () => {
  it("turns the golden latents into PyTorch's image", () => {
    const [n, t, d] = forward.latents!.shape as [number, number, number];
    const map = tf.reshape(tf.transpose(toTensor(forward.latents!), [0, 2, 1]), [n, d, t / 4, 4]);
    expectNear(applyDecoder(decoder, toTensors(weights), map), forward.image!);
  });

  it("has upstream's keys and shapes", () => {
    const own = initDecoder(decoder, random());
    const shapes = (params: Parameters) =>
      Object.entries(params)
        .filter(([name]) => /^(decoder|post_quant_conv)\./.test(name))
        .map(([name, { shape }]) => `${name} [${shape}]`)
        .sort();
    expect(shapes(own)).toEqual(shapes(weights));
  });

  it.each([9, 2, -1, 0.5])("refuses attention at level %s of two", (level) => {
    expect(() => decoderShapes({ ...decoder, attention: [1, level] })).toThrow(
      `decoder attention: expected levels from 0 to 1, highest resolution first, got ${level}. choose`,
    );
  });

  it("has the published number of weights: 41.418 and 41.565 million for VA-VAE's d32 and d64", () => {
    const count = (config: DecoderConfig) =>
      Object.entries(decoderShapes(config))
        .filter(([name]) => name.startsWith("decoder."))
        .reduce((sum, [, shape]) => sum + sizeOf(shape), 0);
    expect(count(decoderSizes.f16d32)).toBe(41_417_603);
    expect(count(decoderSizes.f16d64)).toBe(41_565_059);
    expect(count(decoderSizes.f16d32Wide)).toBe(351_124_035);
    expect(count(decoderSizes.small)).toBe(8_218_819);
    expect(count(decoderSizes.tiny)).toBe(2_526_448);
  });

  it("takes every size to the stride of 16", () => {
    for (const config of Object.values(decoderSizes)) expect(decoderStride(config)).toBe(16);
  });

  it("refuses channels that its groups do not divide", () => {
    expect(() => initDecoder({ ...decoder, channels: 5 }, random())).toThrow(
      /decoder channels: expected multiples of 2 groups, got/,
    );
  });
});

describe("discriminator", () => {
  it("equals PyTorch in training and in inference", () => {
    const images = toTensor(weights.images!);
    const params = toTensors(judge);
    const training = applyDiscriminator(discriminator, params, images, { training: true });
    expectNear(training.logits, forward["judge.training"]!);
    const updated = { ...params, ...training.statistics };
    for (const [name, value] of Object.entries(training.statistics)) {
      expectNear(value, forward[`judge.${name}`]!);
    }
    const inference = applyDiscriminator(discriminator, updated, images, { training: false });
    expectNear(inference.logits, forward["judge.inference"]!);
    expect(inference.statistics).toEqual({});
  });

  it("has PatchGAN's 2,765,633 weights", () => {
    const params = initDiscriminator({}, random());
    const trained = Object.fromEntries(
      Object.entries(params).filter(([name]) => !name.includes("running")),
    );
    expect(countWeights(trained)).toBe(2_765_633);
    expect(Object.keys(initDiscriminator(discriminator, random())).sort()).toEqual(
      Object.keys(judge).sort(),
    );
  });

  it("starts as upstream: convolutions N(0, 0.02), scales N(1, 0.02)", () => {
    const params = initDiscriminator({}, random());
    const moments = (name: string) => {
      const { data } = params[name]!;
      const mean = data.reduce((sum, x) => sum + x, 0) / data.length;
      return [mean, Math.sqrt(data.reduce((sum, x) => sum + (x - mean) ** 2, 0) / data.length)];
    };
    const [mean, std] = moments("main.5.weight");
    expect(mean).toBeCloseTo(0, 3);
    expect(std).toBeCloseTo(0.02, 3);
    const [scale, deviation] = moments("main.9.weight");
    expect(scale).toBeCloseTo(1, 2);
    expect(deviation).toBeCloseTo(0.02, 2);
  });
});

describe("encoder and adapter", () => {
  it("give PyTorch's tokens and latents", () => {
    const params = toTensors(weights);
    const features = applyEncoder(encoder, params, toTensor(weights.images!), { stride: 4 });
    expectNear(features, forward.features!);
    expectNear(applyAdapter({ width: 8, latent: 4 }, params, features), forward.latents!);
  });

  it.each<Interpolation | undefined>(["bilinear", "bicubic", undefined])(
    "resize images where patch and stride differ: %s",
    (interpolation) => {
      const images = tf.randomUniform([1, 3, 20, 20], -1, 1, "float32", 0);
      const features = applyEncoder(encoder, toTensors(weights), images, {
        stride: 5,
        ...(interpolation && { interpolation }),
      });
      expect(features.shape).toEqual([1, 16, 8]);
      const shrunk = resize(images, {
        height: 16,
        width: 16,
        interpolation: interpolation ?? "bilinear",
      });
      const direct = applyEncoder(encoder, toTensors(weights), shrunk, { stride: 4 });
      expect(tf.max(tf.abs(tf.sub(features, direct))).dataSync()[0]).toBe(0);
    },
  );

  it("refuse images that patches do not cover", () => {
    const images = tf.zeros([1, 3, 20, 20]);
    expect(() => applyEncoder(encoder, toTensors(weights), images, { stride: 16 })).toThrow(
      /image size: expected multiples of 16, got 20x20/,
    );
  });

  it.each<[string, Interpolation]>([
    ["shrunk", "bilinear"],
    ["shrunk", "bicubic"],
    ["enlarged", "bilinear"],
    ["enlarged", "bicubic"],
  ])("give torch's images and gradients: %s, %s", async (name, interpolation) => {
    const golden = await readGolden("resize");
    const expected = golden[`${name}.${interpolation}`]!;
    const [, , height, width] = expected.shape as [number, number, number, number];
    const resized = (x: tf.Tensor) => resize(x, { height, width, interpolation });
    const image = toTensor(golden[`${name}.image`]!);
    expectNear(resized(image), expected, 1e-5);
    const gradient = tf.grad(resized)(image, toTensor(golden[`${name}.weight`]!));
    expectNear(gradient, golden[`${name}.${interpolation}.gradient`]!, 1e-5);
  });

  it("have the paper's adapter: 1024 -> 1024 -> 32", () => {
    const params = initAdapter({ width: 1024, latent: 32 }, random());
    expect(countWeights(params)).toBe(1024 * 1024 + 1024 + 32 * 1024 + 32);
  });
});

describe("the perceptual term of frozen features", () => {
  it("compares tokens of unit scale, at the training size, with the weights it needs", () => {
    const params = under(weights, "encoder.");
    const perceptual = createFeaturePerceptual(
      { config: encoder, parameters: params },
      { layers: [0], imageSize: 24 },
    );
    expect(
      Object.keys(perceptual.parameters).some((name) => /^(blocks\.1|norm)\./.test(name)),
    ).toBe(false);
    const x = tf.randomUniform([2, 3, 24, 24], -1, 1, "float32", 1);
    const y = tf.randomUniform([2, 3, 24, 24], -1, 1, "float32", 2);
    const own = toTensors(perceptual.parameters);
    const value = perceptual.distance(own, x, y).dataSync()[0]!;
    expect(perceptual.distance(own, x, x).dataSync()[0]).toBe(0);
    const [a, b] = [x, y].map((image) => {
      const tokens = applyViTLayers(encoder, own, image, [0])[0]!; // mean and std of 0.5: [-1, 1] as it is
      const rows = tf.reshape(tokens, [-1, encoder.width]).arraySync() as number[][];
      return rows.map((row) => {
        const scale = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / row.length);
        return row.map((v) => v / scale);
      });
    });
    const squares = a!.flatMap((row, i) => row.map((v, j) => (v - b![i]![j]!) ** 2));
    expect(value).toBeCloseTo(squares.reduce((sum, v) => sum + v, 0) / squares.length, 4);
  });
});
