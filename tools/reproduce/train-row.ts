/** The training of a row, in a folder of its own that a killed run takes up again. */
import { join } from "node:path";
import {
  createFeaturePerceptual,
  createTokenizer,
  initTokenizer,
  type Perceptual,
  type TrainedStage,
  trainStage,
} from "@aligntok/aligntok";
import {
  createAutoencoder,
  initAutoencoder,
  trainAutoencoder,
  type VisionConfig,
} from "@aligntok/aligntok/vae";
import { createRandom, type Images, type NdArray, type Tokenizer } from "@aligntok/core";
import type { VisionEncoder } from "@aligntok/encoders";
import type { EngineOptions } from "@aligntok/jit";
import { createSchedule } from "@aligntok/train";
import { drawBatch, type Photographs } from "./photographs.ts";
import * as recipe from "./recipe.ts";
import { type RowId, rowOf } from "./rows.ts";

export interface Setting {
  readonly photographs: Photographs;
  readonly encoder: VisionEncoder;
  readonly seed: number;
  /** Of this seed: a folder for each row is made in it. */
  readonly folder: string;
  readonly engine: EngineOptions;
  readonly report: (task: string, done: number, total: number) => void;
}

export interface TrainedRow {
  readonly tokenizer: Tokenizer;
  /** Latents for a diffusion model: of an autoencoder drawn from their distribution, as upstream's caches. */
  readonly latentsOf: (images: Images) => Promise<NdArray<"float32">>;
}

export async function trainRow(id: RowId, setting: Setting): Promise<TrainedRow> {
  const { training } = rowOf(id);
  if ("autoencoder" in training) return trainBaseline(id, training.autoencoder, setting);
  const tokenizer = createTokenizer(await trainAligned(id, setting), setting.engine);
  return { tokenizer, latentsOf: tokenizer.encode };
}

const perceptualOf = ({ encoder }: Setting): Perceptual =>
  createFeaturePerceptual(encoder, { imageSize: recipe.imageSize, stride: 16 });

/** What every training has in common. */
function shared(id: RowId, setting: Setting, { steps, lr }: { steps: number; lr: number }) {
  const { photographs, seed, engine, report } = setting;
  return {
    ...recipe.losses,
    ...engine,
    perceptual: perceptualOf(setting),
    folder: join(setting.folder, id),
    steps,
    seed,
    lr: createSchedule(lr, { shape: "cosine", steps, warmup: 20, minimum: lr / 20 }),
    batch: (_: number, random: Parameters<typeof drawBatch>[1]) =>
      drawBatch(photographs.pool, random),
    emaDecay: recipe.emaDecay,
    checkpointEvery: 100,
    keep: 1,
    onProgress: ({ done, total }: { done: number; total?: number }) =>
      report(id, done, total ?? steps),
  };
}

/** The tokenizer of a row: its own stage after those of the rows that it starts from. */
async function trainAligned(id: RowId, setting: Setting): Promise<TrainedStage> {
  const { training } = rowOf(id);
  if (!("stage" in training)) throw new Error(`${id}: not a stage`);
  const { stage, from, options } = training;
  const { encoder, seed } = setting;
  const { decoder, imageSize, steps, rates, discriminatorStart } = recipe;
  const previous = from
    ? await trainAligned(from, setting)
    : initTokenizer({ encoder, decoder, random: createRandom(seed, "tokenizer") }, { imageSize });
  const start = from ? discriminatorStart.later : discriminatorStart.first;
  return trainStage(previous, {
    ...shared(id, setting, { steps: steps[stage], lr: rates[stage] }),
    stage,
    discriminatorStart: Math.floor(start * steps[stage]),
    ...options,
  });
}

async function trainBaseline(
  id: RowId,
  { vision }: { readonly vision?: Partial<VisionConfig> },
  setting: Setting,
): Promise<TrainedRow> {
  const { encoder, seed, engine } = setting;
  const { autoencoder, autoencoderSteps, autoencoderRate, discriminatorStart } = recipe;
  const parameters = initAutoencoder(autoencoder, createRandom(seed, "autoencoder"));
  const trained = await trainAutoencoder(
    { config: autoencoder, parameters },
    {
      ...shared(id, setting, { steps: autoencoderSteps, lr: autoencoderRate }),
      discriminatorStart: Math.floor(discriminatorStart.first * autoencoderSteps),
      ...(vision && { vision: { ...vision, encoder } }),
    },
  );
  const tokenizer = createAutoencoder(trained, engine);
  const noise = createRandom(seed, "latents");
  return { tokenizer, latentsOf: (images) => tokenizer.encode(images, { sample: noise }) };
}
