import { createRandom, type NdArray } from "@aligntok/core";
import { valueAndGrad } from "@aligntok/jit";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { beforeAll, describe, expect, it } from "vitest";
import {
  applyLightningDit,
  checkLightningDitConfig,
  countLightningDit,
  initLightningDit,
  isFixedParameter,
  type LightningDitConfig,
  lightningDitDefaults,
  lightningDitShapes,
  lightningDitSizes,
} from "../src/lightningdit.ts";
import { flowMatchingLoss } from "../src/transport.ts";
import { draw, goldenParameters, readGolden } from "./golden.ts";

const tiny: LightningDitConfig = {
  ...lightningDitDefaults,
  inputSize: 4,
  inChannels: 4,
  classes: 3,
  depth: 2,
  width: 16,
  heads: 2,
  patchSize: 1,
};

beforeAll(async () => {
  await tf.setBackend("cpu");
});

describe("sizes", () => {
  // upstream's log prints 675.26M for XL/1 with 32 channels on a 16x16 grid
  it.each([
    ["B/1", 130.56],
    ["XL/1", 675.26],
    ["1p0B/1", 1029.4],
    ["1p6B/1", 1631.8],
  ] as const)("%s has %d million parameters", (size, millions) => {
    const config = { ...lightningDitDefaults, ...lightningDitSizes[size] };
    const digits = millions > 1000 ? 1 : 2;
    expect((countLightningDit(config) / 1e6).toFixed(digits)).toBe(millions.toFixed(digits));
  });

  it("lists upstream's names in upstream's order", () => {
    const names = Object.keys(lightningDitShapes({ ...tiny, depth: 1, qkNorm: true }));
    expect(names).toEqual([
      "pos_embed",
      "x_embedder.proj.weight",
      "x_embedder.proj.bias",
      "t_embedder.mlp.0.weight",
      "t_embedder.mlp.0.bias",
      "t_embedder.mlp.2.weight",
      "t_embedder.mlp.2.bias",
      "y_embedder.embedding_table.weight",
      "feat_rope.freqs_cos",
      "feat_rope.freqs_sin",
      "blocks.0.norm1.weight",
      "blocks.0.norm2.weight",
      "blocks.0.attn.qkv.weight",
      "blocks.0.attn.qkv.bias",
      "blocks.0.attn.q_norm.weight",
      "blocks.0.attn.k_norm.weight",
      "blocks.0.attn.proj.weight",
      "blocks.0.attn.proj.bias",
      "blocks.0.mlp.w12.weight",
      "blocks.0.mlp.w12.bias",
      "blocks.0.mlp.w3.weight",
      "blocks.0.mlp.w3.bias",
      "blocks.0.adaLN_modulation.1.weight",
      "blocks.0.adaLN_modulation.1.bias",
      "final_layer.norm_final.weight",
      "final_layer.linear.weight",
      "final_layer.linear.bias",
      "final_layer.adaLN_modulation.1.weight",
      "final_layer.adaLN_modulation.1.bias",
    ]);
  });

  it("refuses impossible configurations by field", () => {
    const refuse = (change: object) => () => checkLightningDitConfig({ ...tiny, ...change });
    expect(refuse({ depth: 0 })).toThrow("depth: expected a positive whole number, got 0");
    expect(refuse({ depth: 1e9 })).toThrow("depth: expected at most 1000");
    expect(refuse({ inputSize: 5, patchSize: 2 })).toThrow("multiple of patch 2, got 5");
    expect(refuse({ width: 20 })).toThrow("multiple of 4 and of 8, got 20");
    expect(refuse({ swiglu: 1 })).toThrow("swiglu: expected true or false, got 1");
    expect(refuse({ qkNorm: true, rmsNorm: false })).toThrow("expected rmsNorm with it");
  });
});

describe("initLightningDit", () => {
  const params = initLightningDit(tiny, createRandom(0, "init"));

  it("gives every parameter its shape", () => {
    const shapes = Object.entries(params).map(([name, { shape }]) => [name, shape]);
    expect(Object.fromEntries(shapes)).toEqual(lightningDitShapes(tiny));
  });

  it("starts as the constant 0 with upstream's distributions", () => {
    for (const name of ["final_layer.linear.weight", "blocks.1.adaLN_modulation.1.weight"]) {
      expect(params[name]!.data.every((x) => x === 0)).toBe(true);
    }
    expect(deviation(params["t_embedder.mlp.0.weight"]!)).toBeCloseTo(0.02, 2);
    // uniform in ±sqrt(6 / (fanIn + fanOut)); the largest of a few hundred numbers comes close
    for (const [name, fans] of [
      ["blocks.0.attn.qkv.weight", 16 + 48],
      ["x_embedder.proj.weight", 4 + 16],
    ] as const) {
      const share = Math.max(...params[name]!.data.map(Math.abs)) / Math.sqrt(6 / fans);
      expect(share).toBeLessThanOrEqual(1);
      expect(share).toBeGreaterThan(0.9);
    }
    expect(params["blocks.0.norm1.weight"]!.data.every((x) => x === 1)).toBe(true);
  });
});

describe.each(["default", "qknorm", "plain", "woshift"])("the %s model in PyTorch", (variant) => {
  it("has the same velocity, loss and gradients", async () => {
    const { config, golden } = await readGolden(variant);
    const params = goldenParameters(config);
    const size = [2, config.inChannels, config.inputSize, config.inputSize] as const;
    const latent = (seed: number) =>
      tf.tensor4d(
        draw(seed, size).map((x) => 4 * x),
        [...size],
      );
    expectClose(params.pos_embed!.data, golden.pos_embed!);

    const fixed: Record<string, tf.Tensor> = {};
    const trained: Record<string, tf.Tensor> = {};
    for (const [name, { data, shape }] of Object.entries(params)) {
      (isFixedParameter(name) ? fixed : trained)[name] = tf.tensor(data, [...shape]);
    }
    const y = tf.tensor1d([1, config.classes], "int32");
    const noise = latent(1002);
    const times = tf.tensor1d([0.25, 0.8]);
    const { value, aux, gradients } = valueAndGrad(
      ({ weights, latents }) => {
        let velocity: tf.Tensor | undefined;
        const { loss, mse } = flowMatchingLoss(
          (x, t) => {
            velocity = applyLightningDit(config, { ...weights, ...fixed }, x, t, y);
            return velocity;
          },
          { latents, noise, times },
          { cosine: true },
        );
        return { loss, aux: { mse, velocity: velocity! } };
      },
      { weights: trained, latents: latent(1001) },
    );

    expectClose(value.dataSync(), golden.loss!);
    expectClose(aux.mse.dataSync(), golden.mse!);
    expect(aux.velocity.shape).toEqual(golden.velocity!.shape);
    expectClose(aux.velocity.dataSync(), golden.velocity!);
    expectClose(gradients.latents.dataSync(), golden["grad.latents"]!);
    const names = Object.keys(golden).filter(
      (name) => name.startsWith("grad.") && name !== "grad.latents",
    );
    expect(names.sort()).toEqual(
      Object.keys(trained)
        .map((name) => `grad.${name}`)
        .sort(),
    );
    for (const name of Object.keys(trained)) {
      expectClose(gradients.weights[name]!.dataSync(), golden[`grad.${name}`]!, name);
    }
  });
});

/** Relative to the largest value: 1e-4. */
function expectClose(got: ArrayLike<number>, { data }: NdArray<"float32">, name = ""): void {
  expect(got.length).toBe(data.length);
  const scale = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const error = data.reduce((most, x, i) => Math.max(most, Math.abs(x - got[i]!)), 0);
  expect(error, `${name}: error ${error} at scale ${scale}`).toBeLessThanOrEqual(1e-4 * scale);
}

function deviation({ data }: NdArray<"float32">): number {
  return Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);
}
