/** The convolutional half: decoders, their losses, and a step of the second stage as the quickstart takes it. */
import {
  applyDecoder,
  type DecoderConfig,
  decoderShapes,
  decoderSizes,
  decoderStride,
} from "@aligntok/aligntok";
import type { BenchCase } from "./case.ts";
import { type Model, prepareAdamWStep, prepareForward } from "./model-run.ts";
import { prepareJudgedImages, prepareStageTwo } from "./stage-steps.ts";
import { createWeights, normals } from "./weights.ts";

/** LDM's decoder for f = 8, at half the width. */
const small: DecoderConfig = {
  latent: 16,
  channels: 64,
  multipliers: [1, 1, 2, 4],
  blocks: 2,
  attention: [3],
};

export const tokenizerCases: readonly BenchCase[] = [
  ...decoderCases("decoder-9m", {
    config: small,
    count: 4,
    imageSize: 128,
    gflop: [76.54, 230.15],
    bar: 0.9,
  }),
  ...decoderCases("decoder-42m", {
    config: decoderSizes.f16d32,
    count: 1,
    imageSize: 256,
    gflop: [252.19, 756.83],
  }),
  {
    name: "stage2-step",
    what: "the quickstart's second stage, 16 images of 128 px: step of tokenizer and discriminator",
    family: "train",
    bar: 1,
    gflop: 111.02,
    prepare: prepareStageTwo,
  },
  {
    name: "patchgan-lpips-step",
    what: "LPIPS (VGG16) and PatchGAN, 2 images of 256 px: gradient of the image, step of the discriminator",
    family: "train",
    gflop: 340.89,
    prepare: prepareJudgedImages,
  },
];

function decoderCases(
  name: string,
  {
    config,
    count,
    imageSize,
    gflop,
    bar,
  }: {
    readonly config: DecoderConfig;
    readonly count: number;
    readonly imageSize: number;
    /** Of images, and of the training step. */
    readonly gflop: readonly [number, number];
    /** Of the training step. */
    readonly bar?: number;
  },
): BenchCase[] {
  const side = imageSize / decoderStride(config);
  const what = `LDM decoder, ${count} x (${side}x${side}x${config.latent} to ${imageSize} px)`;
  const model = (): Model => ({
    params: createWeights(decoderShapes(config)),
    inputs: { latents: normals([count, config.latent, side, side]) },
    apply: (params, { latents }) => applyDecoder(config, params, latents!),
  });
  return [
    {
      name: `${name}-forward`,
      what: `${what}: images`,
      family: "train",
      gflop: gflop[0],
      prepare: (engine) => prepareForward(model(), engine),
    },
    {
      name: `${name}-train`,
      what: `${what}: step with AdamW`,
      family: "train",
      gflop: gflop[1],
      ...(bar !== undefined && { bar }),
      prepare: (engine) => prepareAdamWStep(model(), engine),
    },
  ];
}
