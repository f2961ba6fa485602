import type { NdArray, Parameters } from "@aligntok/core";
import { createRandom, ndarray } from "@aligntok/core";
import { initViT, resamplePositions } from "@aligntok/encoders";
import { compile, specOf } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { withPrefix } from "../../src/encoder.ts";
import { applyEncoder, initDiscriminator, type StageInputs } from "../../src/index.ts";
import { posteriorOf } from "../../src/posterior.ts";
import { adaptAutoencoder, renameAutoencoder } from "../../src/vae/autoencoder-names.ts";
import {
  type AutoencoderConfig,
  applyAutoencoderDecoder,
  applyTinyDecoder,
  applyTinyEncoder,
  createAutoencoder,
  createAutoencoderStep,
  encodePosterior,
  initAutoencoder,
  visionLoss,
} from "../../src/vae/index.ts";
import {
  convolutionPerceptual,
  encoder,
  expectAllNear,
  expectNear,
  readGolden,
  relativeError,
  toTensor,
  toTensors,
  under,
} from "../golden.ts";

const ldm: AutoencoderConfig = {
  ...{ latent: 3, channels: 4, multipliers: [1, 2], blocks: 1 },
  ...{ attention: [1], groups: 2 },
};
const flux: AutoencoderConfig = {
  ...{ latent: 4, channels: 4, multipliers: [1, 2, 2], blocks: 1 },
  ...{ quantConvs: false, groups: 2 },
};
const diffusers: AutoencoderConfig = {
  ...{ latent: 3, channels: 4, multipliers: [1, 2, 2], blocks: 1, groups: 2 },
};

describe.each([
  ["ldm", ldm],
  ["flux", flux],
  ["diffusers", diffusers],
  ["diffusers-older", diffusers],
])("the autoencoder of %s", (name, config) => {
  it("equals PyTorch: mean, variance, image", async () => {
    const golden = await readGolden(`vae/${name}`);
    const { tensors } = renameAutoencoder(under(golden, "weights/"));
    const params = toTensors(adaptAutoencoder(config, tensors));
    const { mean, logVariance } = encodePosterior(config, params, toTensor(golden.images!));
    expectNear(mean, golden.mean!);
    expectNear(logVariance, golden.logVariance!);
    expectNear(applyAutoencoderDecoder(config, params, mean), golden.image!);
  });
});

describe("the posterior", () => {
  it("has a variance between e^-30 and e^20", () => {
    const { mean, logVariance } = posteriorOf(tf.tensor4d([1, 2, 50, -50], [1, 4, 1, 1]));
    expect(Array.from(mean.dataSync())).toEqual([1, 2]);
    expect(Array.from(logVariance.dataSync())).toEqual([20, -30]);
  });
});

describe("createAutoencoder", () => {
  it("encodes to means, or draws from the distribution by a stream", async () => {
    const golden = await readGolden("vae/ldm");
    const parameters = under(golden, "weights/");
    const tokenizer = createAutoencoder({ config: { ...ldm, scale: 0.5, shift: 2 }, parameters });
    expect(tokenizer.stats).toEqual({
      mean: Float32Array.of(2, 2, 2),
      std: Float32Array.of(2, 2, 2),
    });
    expect(tokenizer.latentShape(8, 12)).toEqual([4, 6, 3]);
    const random = createRandom(0, "images");
    const images = ndarray(
      Uint8Array.from({ length: 2 * 8 * 12 * 3 }, () => random.integer(256)),
      [2, 8, 12, 3],
      "uint8",
    );
    const means = await tokenizer.encode(images);
    expect(means.shape).toEqual([2, 4, 6, 3]);
    const draw = (seed: number) =>
      tokenizer.encode(images, { sample: createRandom(seed, "sample") });
    const [first, again, other] = [await draw(0), await draw(0), await draw(1)];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    const planes = tf.sub(tf.mul(tf.transpose(toImages(images), [0, 3, 1, 2]), 1 / 127.5), 1);
    const { mean, logVariance } = encodePosterior(ldm, toTensors(parameters), planes);
    const rows = (x: tf.Tensor) => tf.transpose(x, [0, 2, 3, 1]).dataSync();
    expect(relativeError(rows(mean), means)).toBeLessThan(1e-4);
    const normals = createRandom(0, "sample").normals(means.data.length);
    const std = rows(tf.exp(tf.mul(logVariance, 0.5)));
    const expected = means.data.map((value, i) => value + std[i]! * normals[i]!);
    expect(relativeError(expected, first)).toBeLessThan(1e-4);
    tokenizer.dispose();
  });

  it("starts at random with the shapes of its configuration", async () => {
    const golden = await readGolden("vae/ldm");
    const shapes = (params: Parameters) =>
      Object.entries(params)
        .map(([key, { shape }]) => `${key} [${shape}]`)
        .sort();
    expect(shapes(initAutoencoder(ldm, createRandom(0, "init")))).toEqual(
      shapes(under(golden, "weights/")),
    );
  });
});

function toImages({ data, shape }: NdArray<"uint8">): tf.Tensor {
  return tf.tensor(Float32Array.from(data), [...shape], "float32");
}

describe.each([
  ["tiny", { latent: 4, channels: 4 }],
  ["tiny-pooled", { latent: 3, channels: 4, pooled: true }],
])("the autoencoder %s", (name, config) => {
  it("equals PyTorch: latents, image", async () => {
    const golden = await readGolden(`vae/${name}`);
    const params = toTensors(under(golden, "weights/"));
    expectNear(applyTinyEncoder(config, params, toTensor(golden.images!)), golden.latents!);
    expectNear(applyTinyDecoder(config, params, toTensor(golden.latents!)), golden.image!);
  });
});

describe("VA-VAE's step", async () => {
  const golden = await readGolden("vae/losses");
  const { noise } = golden;
  const [n = 0, d = 0, h = 0, w = 0] = noise!.shape;
  const given = {
    trainable: {
      ...under(await readGolden("vae/ldm"), "weights/"),
      "linear_proj.weight": golden["linear_proj.weight"]!,
    },
    images: golden.images!,
    noise: toTokens(noise!),
    features: golden.features!,
  };
  const step = createAutoencoderStep({ autoencoder: ldm, klWeight: 0.3, vision: { encoder } });

  /** `(N, d, h, w)` to `(N, T, d)`. */
  function toTokens(array: NdArray<"float32">): NdArray<"float32"> {
    const tokens = tf.transpose(tf.reshape(toTensor(array), [n, d, h * w]), [0, 2, 1]);
    return ndarray(tokens.dataSync<"float32">(), [n, h * w, d]);
  }

  function expectGolden(outputs: { losses: object; gradients: object }): void {
    const { cosine, distance, reconstruction, weight, ...same } = under(golden, "losses/");
    expectAllNear(outputs.losses as TensorParameters, {
      ...same,
      absolute: reconstruction!,
      vfWeight: weight!,
      vf: ndarray(Float32Array.of(cosine!.data[0]! + distance!.data[0]!), []),
    });
    expectAllNear(outputs.gradients as TensorParameters, under(golden, "gradients/"));
  }

  it("equals PyTorch, with all gradients and the adaptive weight", () => {
    const { trainable, ...rest } = given;
    const inputs = { ...toTensors(rest), trainable: toTensors(trainable) };
    expectGolden(step(inputs as unknown as StageInputs));
  });

  it("does so on the engine", async () => {
    const graph = await compile((inputs) => step(inputs as unknown as StageInputs), specOf(given));
    const { losses, gradients } = await graph.run(given);
    expectGolden({
      losses: toTensors(losses as unknown as Parameters),
      gradients: toTensors(gradients as unknown as Parameters),
    });
    graph.dispose();
  });

  it("computes features where none are given", () => {
    const vit = toTensors({
      ...initViT(encoder, createRandom(0, "vit")),
      ...resamplePositions(encoder, initViT(encoder, createRandom(0, "vit")), [4, 6]),
    });
    const features = applyEncoder(encoder, withPrefix(vit, "encoder."), toTensor(given.images), {
      stride: 2,
    });
    const trainable = {
      ...toTensors(given.trainable),
      "linear_proj.weight": tf.randomNormal([encoder.width, 3, 1, 1], 0, 1, "float32", 0),
    };
    const inputs = { trainable, images: toTensor(given.images), noise: toTensor(given.noise) };
    const frozen = withPrefix(vit, "foundation_model.model.");
    const [told, computed] = [step({ ...inputs, features }), step({ ...inputs, frozen })].map(
      ({ losses }) => losses.vf!.dataSync()[0],
    );
    expect(told).toBe(computed);
    expect(told).toBeGreaterThan(0);
  });

  it("limits both adaptive weights as if losses were sums over an image", async () => {
    const { trainable, ...rest } = given;
    const discriminator = { channels: 4, layers: 1 };
    const judge = toTensors(initDiscriminator(discriminator, createRandom(0, "judge")));
    const { "perceptual.weight": weight } = await readGolden("vae/steps");
    const perceptual = convolutionPerceptual(weight!);
    const judged = createAutoencoderStep({
      ...{ autoencoder: ldm, vision: { encoder }, discriminator, perceptual },
      perceptualWeight: 1e9, // far longer gradients than those that have to be as long
    });
    const { losses } = judged({
      ...(toTensors(rest) as unknown as StageInputs),
      trainable: toTensors(trainable),
      discriminator: judge,
      perceptual: toTensors(perceptual.parameters),
    });
    const values = given.images.shape.slice(1).reduce((a, b) => a * b);
    const [generator, vf] = [losses.generatorWeight!, losses.vfWeight!].map(
      (x) => x.dataSync()[0]!,
    );
    expect(generator! / ((0.5 * 1e4) / values)).toBeCloseTo(1, 5);
    expect(vf! / ((0.1 * 1e8) / values)).toBeCloseTo(1, 5);
  });

  it("says which inputs it lacks", () => {
    const { noise: _, features: __, ...rest } = given;
    expect(() => step(rest as unknown as StageInputs)).toThrow(
      /expected the inputs noise, features or frozen, got trainable, images/,
    );
  });
});

describe("the vision loss", () => {
  it("has margins, within which nothing is lost", () => {
    const tokens = tf.randomNormal([1, 5, 7], 0, 1, "float32", 0);
    const near = tf.add(tokens, tf.randomNormal([1, 5, 7], 0, 0.01, "float32", 1));
    const value = (x: tf.Tensor) => x.dataSync()[0]!;
    const margins = { cosineMargin: 0.05, distanceMargin: 0.05 };
    expect(value(visionLoss(near, tokens, margins))).toBe(0);
    const none = { cosineMargin: 0, distanceMargin: 0 };
    const wide = { cosineMargin: 2, distanceMargin: 2 };
    const parts = [
      value(visionLoss(near, tokens, { ...none, cosineMargin: 2 })),
      value(visionLoss(near, tokens, { ...none, distanceMargin: 2 })),
    ];
    for (const part of parts) expect(part).toBeGreaterThan(1e-6);
    expect(value(visionLoss(near, tokens, none))).toBeCloseTo(parts[0]! + parts[1]!, 6);
    expect(value(visionLoss(near, tokens, wide))).toBe(0);
  });
});
