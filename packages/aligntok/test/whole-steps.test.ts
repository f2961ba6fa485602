import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Images, type NdArray, type Parameters } from "@aligntok/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  initTokenizer,
  stages,
  type TrainedStage,
  type TrainStageOptions,
  trainableParts,
  trainStage,
} from "../src/index.ts";
import {
  convolutionPerceptual,
  discriminator,
  parts,
  readGolden,
  relativeError,
  tokenizer,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const start = {
  config: tokenizer,
  parameters: parts(weights, ["encoder", "adapter", "post_quant_conv", "decoder"]),
  discriminator: await readGolden("discriminator"),
};

/** Back to the bytes that the script made its images of. */
function toBytes({ data, shape }: NdArray<"float32">): Images {
  const [n, c, h, w] = shape as [number, number, number, number];
  const bytes = new Uint8Array(data.length);
  for (let i = 0; i < bytes.length; i++) {
    const [channel, pixel] = [i % c, Math.floor(i / c)];
    const plane = (Math.floor(pixel / (h * w)) * c + channel) * h * w;
    bytes[i] = Math.round((data[plane + (pixel % (h * w))]! + 1) * 127.5);
  }
  return { dtype: "uint8", shape: [n, h, w, c], data: bytes };
}

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "whole-steps-"));
});
afterAll(() => rm(root, { recursive: true }));

/** Root of the mean square. */
function size(data: ArrayLike<number>): number {
  return Math.sqrt(Array.from(data).reduce((sum, x) => sum + x * x, 0) / data.length);
}

/**
 * Weights near to 1e-3, and the changes that the steps made near, too. The gradient of a key's bias is zero but for
 * rounding, of which Adam makes a full step of either sign: its change says nothing.
 */
function expectTrained(actual: Parameters, expected: Parameters, before: Parameters): void {
  for (const [name, array] of Object.entries(expected)) {
    const [own, old] = [actual[name]!.data, before[name]!.data];
    expect(relativeError(own, array as NdArray<"float32">), name).toBeLessThan(1e-3);
    const third = array.data.length / 3;
    const isKey = (i: number) =>
      name.endsWith(".k.bias") || (name.endsWith(".qkv.bias") && i >= third && i < 2 * third);
    const change = array.data.map((x, i) => (isKey(i) ? 0 : x - old[i]!));
    const difference = array.data.map((x, i) => (isKey(i) ? 0 : x - own[i]!));
    expect(size(difference), `change of ${name}`).toBeLessThanOrEqual(1e-3 * size(change));
  }
}

function options(stage: TrainStageOptions["stage"], images: Images): TrainStageOptions {
  return {
    stage,
    folder: join(root, `${stage} ${images.shape}`),
    steps: 2,
    batch: () => ({ images }),
    lr: 1e-3,
    encoderLrScale: 0.1,
    layerDecay: 0.5,
    perceptual: convolutionPerceptual(weights["perceptual.weight"]!),
    perceptualWeight: 0.7,
    semanticWeight: 3,
    discriminator,
    discriminatorStart: 0,
    emaDecay: 0,
    threads: 1,
  };
}

describe("two whole steps of Adam, discriminator included", () => {
  it.each(stages)("%s: weights equal PyTorch's", async (stage) => {
    const golden = await readGolden(`step-${stage}`);
    const trained = await trainStage(start, options(stage, toBytes(weights.images!)));
    expectTrained(trained.discriminator!, under(golden, "discriminator."), start.discriminator);
    const expected = parts(golden, trainableParts[stage]);
    expect(Object.keys(expected).length).toBeGreaterThan(50);
    expectTrained(trained.parameters, expected, start.parameters);
  });

  it("perceptual, of images that are not square: position embeddings are trained as resampled", async () => {
    const { images, fitted, ...golden } = await readGolden("step-perceptual-wide");
    const wide = initTokenizer(
      {
        encoder: { config: tokenizer.encoder, parameters: under(start.parameters, "encoder.") },
        decoder: tokenizer.decoder,
        random: createRandom(0, "replaced"),
      },
      { imageSize: [12, 20] },
    );
    const before: TrainedStage = {
      ...{ config: wide.config, discriminator: start.discriminator },
      parameters: { ...start.parameters, "encoder.pos_embed": fitted! },
    };
    const { data, shape } = wide.parameters["encoder.pos_embed"]!;
    expect(shape).toEqual([1, 16, 8]);
    expect(relativeError(data, fitted!)).toBeLessThan(1e-6);
    const trained = await trainStage(before, options("perceptual", toBytes(images!)));
    expectTrained(trained.discriminator!, under(golden, "discriminator."), start.discriminator);
    const expected = parts(golden, trainableParts.perceptual);
    expect(Object.keys(expected)).toContain("encoder.pos_embed");
    expectTrained(trained.parameters, expected, before.parameters);
  });
});
