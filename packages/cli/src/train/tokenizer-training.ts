/** What a configuration names, loaded: images, encoder, perceptual term, and the tokenizer before its first stage. */
import {
  createFeaturePerceptual,
  createLpipsPerceptual,
  type DecoderConfig,
  decoderSizes,
  decoderStride,
  initTokenizer,
  type Perceptual,
  type TokenizerWeights,
} from "@aligntok/aligntok";
import { initAutoencoder } from "@aligntok/aligntok/vae";
import { check, createRandom } from "@aligntok/core";
import { loadEncoder, type VisionEncoder } from "@aligntok/encoders";
import { loadLpips } from "@aligntok/lpips";
import { sampleEncoderPath } from "@aligntok/samples";
import { engineOptions } from "../engine-options.ts";
import type { Session } from "../session.ts";
import {
  type AutoencoderConfigFile,
  alignedStages,
  autoencoderStages,
  stagesOf,
  type TokenizerConfigFile,
} from "./tokenizer-config.ts";
import type { PlannedStage } from "./tokenizer-plan.ts";
import { createAlignedTrainee, createAutoencoderTrainee, type Trainee } from "./trainee.ts";
import type { TrainingImages } from "./training-images.ts";

export interface TokenizerTraining {
  readonly config: TokenizerConfigFile;
  readonly seed: number;
  readonly images: TrainingImages;
  readonly perceptual: Perceptual | undefined;
  /** The encoder as it was given, for distances in its features. */
  readonly pretrained: TokenizerWeights;
  /** The tokenizer before its first stage. */
  readonly initial: Trainee;
}

/** Loads what a configuration names. Nothing is written. */
export async function prepareTraining(
  config: TokenizerConfigFile,
  images: TrainingImages,
  session: Session,
): Promise<TokenizerTraining> {
  const { data, model, batchSize } = config;
  check(
    batchSize <= images.train.length,
    () =>
      `batchSize: expected at most the ${images.train.length} images to train on, got ${batchSize}. lower it`,
  );
  const { seed } = session;
  const path = config.encoder === "embedded" ? sampleEncoderPath() : config.encoder;
  const encoder = await loadEncoder(path, { ...engineOptions(session), ...(model && { model }) });
  const decoder: DecoderConfig =
    typeof config.decoder === "string" ? decoderSizes[config.decoder] : config.decoder;
  const pretrained = initTokenizer(
    { encoder, decoder, random: createRandom(seed, "tokenizer") },
    {
      imageSize: data.size,
      ...("adapter" in config && config.adapter && { adapter: config.adapter }),
    },
  );
  const perceptual = await loadPerceptual(config, encoder, decoderStride(decoder));
  encoder.dispose();
  const initial =
    config.kind === "aligntok"
      ? createAlignedTrainee(pretrained, alignedStages(config))
      : createBaseline(config, { encoder, decoder, seed });
  return { config, seed, images, perceptual, pretrained, initial };
}

function createBaseline(
  config: AutoencoderConfigFile,
  {
    encoder: { config: own, parameters },
    decoder,
    seed,
  }: {
    readonly encoder: VisionEncoder;
    readonly decoder: DecoderConfig;
    readonly seed: number;
  },
): Trainee {
  const { kind, imageMean: mean = own.mean, imageStd: std = own.std } = config;
  const random = createRandom(seed, "autoencoder");
  return createAutoencoderTrainee(
    { config: decoder, parameters: initAutoencoder(decoder, random) },
    autoencoderStages(config),
    kind === "va-vae" ? { config: { ...own, mean, std }, parameters } : undefined,
  );
}

async function loadPerceptual(
  { perceptual, data }: TokenizerConfigFile,
  encoder: VisionEncoder,
  stride: number,
): Promise<Perceptual | undefined> {
  if (perceptual === "none") return undefined;
  if (perceptual === "features") {
    return createFeaturePerceptual(encoder, { imageSize: data.size, stride });
  }
  const { network, weights } = perceptual;
  return createLpipsPerceptual(await loadLpips(weights, { network }));
}

/** What each stage is going to do and to need. */
export function planTraining({
  config,
  images,
  perceptual,
  initial,
}: TokenizerTraining): PlannedStage[] {
  const { batchSize, microBatch = batchSize, data, discriminator } = config;
  return stagesOf(config).map(({ name, steps }, i) => {
    const estimate = initial.estimate(i, {
      ...(perceptual && { perceptual }),
      discriminator,
      batchSize: Math.min(batchSize, microBatch),
      imageSize: data.size,
    });
    return { stage: name, steps, epochs: (steps * batchSize) / images.train.length, ...estimate };
  });
}
