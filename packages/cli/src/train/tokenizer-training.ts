/** What a configuration names, loaded: images, encoder, perceptual term, and the tokenizer before its first stage. */
import {
  createFeaturePerceptual,
  createLpipsPerceptual,
  type DecoderConfig,
  decoderShapes,
  decoderSizes,
  decoderStride,
  fitTokenizer,
  initTokenizer,
  loadTrainedStage,
  type Perceptual,
  type TokenizerConfig,
  type TokenizerWeights,
  tokenizerShapes,
} from "@aligntok/aligntok";
import {
  autoencoderShapes,
  initAutoencoder,
  loadTrainedAutoencoder,
  type TrainedAutoencoder,
} from "@aligntok/aligntok/vae";
import { locateWeights } from "@aligntok/checkpoint";
import { check, createRandom } from "@aligntok/core";
import { loadEncoder, type VisionEncoder } from "@aligntok/encoders";
import { loadLpips } from "@aligntok/lpips";
import { sampleEncoderPath } from "@aligntok/samples";
import type { Session } from "../session.ts";
import {
  type AlignedConfigFile,
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
  const { batchSize } = config;
  check(
    batchSize <= images.train.length,
    () =>
      `batchSize: expected at most the ${images.train.length} images to train on, got ${batchSize}. lower it`,
  );
  const { seed } = session;
  const encoder = await readEncoder(config);
  const { pretrained, initial } =
    config.kind === "aligntok"
      ? await beginAligned(config, { encoder, seed })
      : await beginBaseline(config, { encoder, seed });
  const stride = decoderStride(pretrained.config.decoder);
  const perceptual = await loadPerceptual(config, encoder, stride);
  return { config, seed, images, perceptual, pretrained, initial };
}

/** A pretrained encoder as a configuration wants it. */
type Encoder = Pick<VisionEncoder, "config" | "parameters">;

async function readEncoder(given: TokenizerConfigFile): Promise<Encoder> {
  const { model, positionResampling } = given;
  const path = given.encoder === "embedded" ? sampleEncoderPath() : given.encoder;
  const { config, parameters, dispose } = await loadEncoder(path, {
    ...(model && { model }),
    ...(positionResampling && { positionResampling }),
  });
  dispose();
  const { imageMean: mean = config.mean, imageStd: std = config.std } = given;
  return { config: { ...config, mean, std }, parameters };
}

type Beginning = Pick<TokenizerTraining, "pretrained" | "initial">;

interface Parts {
  readonly encoder: Encoder;
  readonly seed: number;
}

async function beginAligned(
  config: AlignedConfigFile,
  { encoder, seed }: Parts,
): Promise<Beginning> {
  const { from, data, adapter, interpolation } = config;
  const stages = alignedStages(config);
  const pretrained = initTokenizer(
    { encoder, decoder: decoderOf(config), random: createRandom(seed, "tokenizer") },
    { imageSize: data.size, ...(adapter && { adapter }), ...(interpolation && { interpolation }) },
  );
  if (!from) return { pretrained, initial: createAlignedTrainee(pretrained, stages) };
  const { path } = await locateWeights(from);
  const previous = fitTokenizer(await loadTrainedStage(path), data.size);
  checkParts(from, tokenizerShapes(previous.config), tokenizerShapes(pretrained.config));
  checkPreparation(from, previous.config, pretrained.config);
  return { pretrained, initial: createAlignedTrainee(previous, stages) };
}

async function beginBaseline(
  config: AutoencoderConfigFile,
  { encoder, seed }: Parts,
): Promise<Beginning> {
  const { kind, from, data } = config;
  const decoder = decoderOf(config);
  const random = createRandom(seed, "tokenizer");
  const pretrained = initTokenizer({ encoder, decoder, random }, { imageSize: data.size });
  const previous = from && (await loadTrainedAutoencoder((await locateWeights(from)).path));
  if (previous) checkParts(from, autoencoderShapes(previous.config), decoderShapes(decoder));
  const initial = createAutoencoderTrainee(
    previous || beginAutoencoder(decoder, seed),
    autoencoderStages(config),
    kind === "va-vae" ? encoder : undefined,
  );
  return { pretrained, initial };
}

type Shapes = Readonly<Record<string, readonly number[]>>;

/** @throws AlignTokError `bad-input` where a part of the configuration is not that of the tokenizer that it goes on with */
function checkParts(from: string, own: Shapes, given: Shapes): void {
  for (const part of ["encoder", "adapter", "decoder"]) {
    const names = Object.keys(given).filter((name) => name.startsWith(`${part}.`));
    const other = names.find((name) => own[name]?.join() !== given[name]?.join());
    check(
      other === undefined,
      () =>
        `${part}: expected that of ${from}, whose ${other} is [${own[other!] ?? "absent"}], got one with [${given[other!]}]. set ${part} as it was trained`,
    );
  }
}

/** @throws AlignTokError `bad-input` where the encoder's images would be prepared in another way than before */
function checkPreparation(from: string, previous: TokenizerConfig, config: TokenizerConfig): void {
  const keysOf = ({ encoder, interpolation = "bilinear" }: TokenizerConfig) => ({
    imageMean: encoder.mean,
    imageStd: encoder.std,
    positionResampling: encoder.positionResampling,
    interpolation,
  });
  const [own, given] = [keysOf(previous), keysOf(config)];
  for (const key of Object.keys(own) as (keyof typeof own)[]) {
    check(
      `${own[key]}` === `${given[key]}`,
      () => `${key}: expected ${own[key]}, as ${from} was trained with, got ${given[key]}. set it`,
    );
  }
}

function beginAutoencoder(
  { postQuantConv: quantConvs = true, ...sizes }: DecoderConfig,
  seed: number,
): TrainedAutoencoder {
  const config = { ...sizes, quantConvs };
  return { config, parameters: initAutoencoder(config, createRandom(seed, "autoencoder")) };
}

function decoderOf({ decoder }: TokenizerConfigFile): DecoderConfig {
  return typeof decoder === "string" ? decoderSizes[decoder] : decoder;
}

async function loadPerceptual(
  { perceptual, data }: TokenizerConfigFile,
  encoder: Encoder,
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
