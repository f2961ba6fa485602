/** The convolutional half: decoders, their losses, and steps of the stages, small and at the paper's size. */
import { totalmem } from "node:os";
import {
  applyDecoder,
  type DecoderConfig,
  decoderShapes,
  decoderSizes,
  decoderStride,
  stages,
} from "@aligntok/aligntok";
import type { BenchCase } from "./case.ts";
import { prepareJudgedImages } from "./judged-images.ts";
import { type Model, prepareAdamWStep, prepareForward } from "./model-run.ts";
import { preparePaperStage, prepareQuickstartStage } from "./stage-steps.ts";
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
  ...stages.map(
    (stage, i): BenchCase => ({
      name: `stage${i + 1}-step`,
      what: `stage ${i + 1}, the quickstart's networks and 16 images of 128 px: step of tokenizer and discriminator`,
      family: "train",
      bar: 1,
      gflop: [92.69, 111.02, 92.5][i]!,
      prepare: (engine) => prepareQuickstartStage(stage, engine),
    }),
  ),
  ...stages.map(
    (stage, i): BenchCase => ({
      name: `stage${i + 1}-paper-step`,
      what: `stage ${i + 1}, DINOv2 ViT-L/14 and the decoder of 42 million weights, an image of 256 px: step of tokenizer and discriminator`,
      family: "paper",
      bar: 1,
      gflop: [1091.06, 1581.16, 1090.46][i]!,
      ...(stage === "perceptual" && { apart: true, reasonToSkip: wantOfMemory }),
      prepare: (engine) => preparePaperStage(stage, engine),
    }),
  ),
  {
    name: "patchgan-lpips-step",
    what: "LPIPS (VGG16) and PatchGAN, 2 images of 256 px: gradient of the image, step of the discriminator",
    family: "train",
    gflop: 340.89,
    prepare: prepareJudgedImages,
  },
];

/** The step takes 13 GB. */
function wantOfMemory(): string | undefined {
  const gib = Math.round(totalmem() / 2 ** 30);
  return gib < 15 ? `it needs 15 GB of memory, this machine has ${gib}` : undefined;
}

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
