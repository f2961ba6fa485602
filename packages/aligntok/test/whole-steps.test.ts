import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Images } from "@aligntok/core";
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
  decoder,
  discriminator,
  expectTrained,
  parts,
  readGolden,
  relativeError,
  toBytes,
  tokenizer,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const start = {
  config: tokenizer,
  parameters: parts(weights, ["encoder", "adapter", "post_quant_conv", "decoder"]),
  discriminator: await readGolden("discriminator"),
};

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "whole-steps-"));
});
afterAll(() => rm(root, { recursive: true }));

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
    const expected = parts(golden, trainableParts(stage, decoder));
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
    const expected = parts(golden, trainableParts("perceptual", decoder));
    expect(Object.keys(expected)).toContain("encoder.pos_embed");
    expectTrained(trained.parameters, expected, before.parameters);
  });
});
