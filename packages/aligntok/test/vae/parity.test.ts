import type { NdArray, Parameters } from "@aligntok/core";
import { createRandom, ndarray } from "@aligntok/core";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { absoluteLoss } from "../../src/index.ts";
import { adaptAutoencoder, renameAutoencoder } from "../../src/vae/autoencoder-names.ts";
import {
  type AutoencoderConfig,
  applyAutoencoderDecoder,
  applyTinyDecoder,
  applyTinyEncoder,
  createAutoencoder,
  encodePosterior,
  encoderBody,
  initAutoencoder,
  klLoss,
  posteriorHead,
  projectLatents,
  samplePosterior,
  visionLoss,
  visionWeight,
} from "../../src/vae/index.ts";
import {
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
    const params = {
      "encoder.conv_out.weight": tf.zeros([2, 1, 3, 3]),
      "encoder.conv_out.bias": tf.tensor1d([3, 50]),
    };
    const config = { ...flux, latent: 1 };
    const hidden = tf.zeros([1, 1, 2, 2]);
    expect(posteriorHead(config, params, hidden).logVariance.dataSync()[0]).toBe(20);
    const low = { ...params, "encoder.conv_out.bias": tf.tensor1d([3, -50]) };
    expect(posteriorHead(config, low, hidden).logVariance.dataSync()[0]).toBe(-30);
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

describe("VA-VAE's losses", async () => {
  const golden = await readGolden("vae/losses");
  const parameters = {
    ...under(await readGolden("vae/ldm"), "weights/"),
    "linear_proj.weight": golden["linear_proj.weight"]!,
  };
  const given = {
    params: parameters,
    images: golden.images!,
    noise: golden.noise!,
    features: golden.features!,
  };
  type Given = Readonly<Record<"images" | "noise" | "features", tf.Tensor>> & {
    readonly params: TensorParameters;
  };

  /** Terms, the weight of the vision loss from gradients at its layer, and the gradients of the whole. */
  function step({ params, images, noise, features }: Given) {
    const terms = (weights: TensorParameters) => {
      const posterior = posteriorHead(ldm, weights, encoderBody(ldm, weights, images));
      const z = samplePosterior(posterior, noise);
      const { cosine, distance } = visionLoss(projectLatents(weights, z), features);
      return {
        reconstruction: absoluteLoss(applyAutoencoderDecoder(ldm, weights, z), images),
        kl: klLoss(posterior, 3 * 8 * 12),
        cosine,
        distance,
      };
    };
    const layer = "encoder.conv_out.weight";
    const atLayer = (of: (values: ReturnType<typeof terms>) => tf.Tensor) =>
      valueAndGrad((weight: tf.Tensor) => of(terms({ ...params, [layer]: weight })), params[layer]!)
        .gradients;
    const ratio = visionWeight(
      atLayer(({ reconstruction }) => reconstruction),
      atLayer(({ cosine, distance }) => tf.add(cosine, distance)),
    );
    const weight = tf.mul(ratio, tf.scalar(0.1));
    const { value, aux, gradients } = valueAndGrad((weights: TensorParameters) => {
      const { reconstruction, kl, cosine, distance } = terms(weights);
      const vision = tf.mul(tf.add(cosine, distance), weight);
      const loss = tf.addN([reconstruction, tf.mul(kl, tf.scalar(0.3)), vision]);
      return { loss, aux: { reconstruction, kl, cosine, distance } };
    }, params);
    return { losses: { ...aux, weight, total: value }, gradients };
  }

  it("equal PyTorch, with all gradients and the adaptive weight", () => {
    const tensors = toTensors({
      images: given.images,
      noise: given.noise,
      features: given.features,
    });
    const outputs = step({ ...tensors, params: toTensors(given.params) } as unknown as Given);
    expectAllNear(outputs.losses, under(golden, "losses/"));
    expectAllNear(outputs.gradients, under(golden, "gradients/"));
  });

  it("do so on the engine", async () => {
    const graph = await compile((inputs) => step(inputs as unknown as Given), specOf(given));
    const { losses, gradients } = await graph.run(given);
    for (const [prefix, values] of [
      ["losses/", losses],
      ["gradients/", gradients],
    ] as const) {
      const actual = Object.entries(values as Parameters);
      expectAllNear(
        Object.fromEntries(actual.map(([key, array]) => [key, toTensor(array)])),
        under(golden, prefix),
      );
    }
    graph.dispose();
  });

  it("have margins, within which nothing is lost", () => {
    const tokens = tf.randomNormal([1, 5, 7], 0, 1, "float32", 0);
    const near = tf.add(tokens, tf.randomNormal([1, 5, 7], 0, 0.01, "float32", 1));
    const value = (x: tf.Tensor) => x.dataSync()[0]!;
    const within = visionLoss(near, tokens);
    expect([value(within.cosine), value(within.distance)]).toEqual([0, 0]);
    const strict = visionLoss(near, tokens, { cosineMargin: 0, distanceMargin: 0 });
    expect(value(strict.cosine)).toBeGreaterThan(1e-6);
    expect(value(strict.distance)).toBeGreaterThan(1e-6);
  });

  it("weigh a vision loss without gradient by no more than 1e8", () => {
    const weight = visionWeight(tf.fill([2, 2], 1e9), tf.zeros([2, 2]));
    expect(weight.dataSync()[0]).toBe(1e8);
  });
});
