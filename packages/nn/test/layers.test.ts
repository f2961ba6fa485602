import { AlignTokError } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { beforeAll, describe, expect, test } from "vitest";
import * as nn from "../src/index.ts";
import { readGolden } from "./golden.ts";

type Layer = (params: nn.TensorParameters, x: tf.Tensor) => tf.Tensor;

const eps = 1e-3;
const layers: Readonly<Record<string, Layer>> = {
  linear: (p, x) => nn.linear(p, "p", x),
  layerNorm: (p, x) => nn.layerNorm(p, "p", x, eps),
  rmsNorm: (p, x) => nn.rmsNorm(p, "p", x, eps),
  groupNorm: (p, x) => nn.groupNorm(p, "p", x, { groups: 2, eps }),
  groupNormSilu: (p, x) => nn.groupNorm(p, "p", x, { groups: 2, eps, silu: true }),
  layerScale: (p, x) => nn.layerScale(p, "p", x),
  conv2d: (p, x) => nn.conv2d(p, "p", x, { stride: 2, padding: 1 }),
  patchEmbed: (p, x) => nn.patchEmbed(p, "p", x, 2),
  pixelShuffle: (_, x) => nn.pixelShuffle(x, 2),
  resizeBilinear: (_, x) => nn.resizeBilinear(x, [7, 3]),
  mlp: (p, x) => nn.mlp(p, "p", x),
  mlpTanh: (p, x) => nn.mlp(p, "p", x, { gelu: "tanh" }),
  mlpQuick: (p, x) => nn.mlp(p, "p", x, { gelu: "quick" }),
  swiGlu: (p, x) => nn.swiGlu(p, "p", x),
  selfAttention: (p, x) => nn.selfAttention(p, "p", x, { heads: 2 }),
  selfAttentionRotary: (p, x) => {
    const { cos, sin } = nn.rotaryTables([2, 3], 8);
    const rotary = { cos: nn.constantTensor(cos), sin: nn.constantTensor(sin) };
    return nn.selfAttention(p, "p", x, { heads: 2, qkNorm: true, rotary });
  },
  timestepEmbedding: (_, x) => nn.timestepEmbedding(x, { width: 8 }),
};

const golden = readGolden("layers.safetensors");

beforeAll(async () => {
  tf.enableProdMode(); // no notice about faster backends
  await tf.setBackend("cpu");
});

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return Number.isNaN(largest) ? Number.POSITIVE_INFINITY : largest;
}

describe("layers agree with PyTorch", () => {
  test.each(Object.keys(layers))("%s: values and gradients", (name) => {
    const layer = layers[name]!;
    const tensor = (key: string) => nn.constantTensor(golden[`${name}/${key}`]!);
    const keys = Object.keys(golden)
      .filter((key) => key.startsWith(`${name}/grad/`))
      .map((key) => key.slice(`${name}/grad/`.length));
    const parameterKeys = keys.filter((key) => key !== "x");
    const apply = (x: tf.Tensor, ...weights: tf.Tensor[]) =>
      layer(Object.fromEntries(parameterKeys.map((key, i) => [key, weights[i]!])), x);
    const inputs = ["x", ...parameterKeys].map(tensor) as [tf.Tensor, ...tf.Tensor[]];

    const y = apply(...inputs);
    expect(y.shape).toEqual(golden[`${name}/y`]!.shape);
    expect(largestDifference(y.dataSync(), golden[`${name}/y`]!.data)).toBeLessThan(1e-5);

    const weight = tensor("weight");
    const loss = (...args: tf.Tensor[]) =>
      tf.sum(tf.mul(apply(...(args as [tf.Tensor])), weight)) as tf.Scalar;
    const gradients = tf.grads(loss)(inputs);
    for (const [i, key] of ["x", ...parameterKeys].entries()) {
      const expected = golden[`${name}/grad/${key}`]!;
      expect(gradients[i]!.shape, key).toEqual(expected.shape);
      expect(largestDifference(gradients[i]!.dataSync(), expected.data), key).toBeLessThan(1e-4);
    }
  });

  test("position tables", () => {
    const { cos, sin } = nn.rotaryTables([2, 3], 8);
    expect(largestDifference(cos.data, golden["rotary/cos"]!.data)).toBeLessThan(1e-6);
    expect(largestDifference(sin.data, golden["rotary/sin"]!.data)).toBeLessThan(1e-6);
    const sincos = nn.sincosPositions([2, 3], 16);
    expect(sincos.shape).toEqual([6, 16]);
    expect(largestDifference(sincos.data, golden["sincos/y"]!.data)).toBeLessThan(1e-6);
  });
});

describe("errors name what is wrong", () => {
  test("a missing parameter", () => {
    expect(() => nn.linear({}, "blocks.0.mlp.fc1", tf.zeros([1, 2]))).toThrow(
      /blocks\.0\.mlp\.fc1\.weight/,
    );
    try {
      nn.linear({}, "p", tf.zeros([1, 2]));
    } catch (error) {
      expect(AlignTokError.isInstance(error) && error.code).toBe("not-found");
    }
  });

  test("images that are no multiple of the patch", () => {
    expect(() => nn.patchEmbed({}, "p", tf.zeros([1, 3, 5, 4]), 2)).toThrow(
      /multiples of 2, got 5x4/,
    );
  });

  test("channels that do not shuffle, heads that do not divide", () => {
    expect(() => nn.pixelShuffle(tf.zeros([1, 6, 2, 2]), 2)).toThrow(
      /multiple of 4 channels, got 6/,
    );
    expect(() => nn.selfAttention({}, "p", tf.zeros([1, 2, 6]), { heads: 4 })).toThrow(
      /width 6, got 4/,
    );
  });
});
