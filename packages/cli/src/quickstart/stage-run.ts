/** One stage of the tokenizer with its held-out PSNR on the way. */
import {
  createTokenizer,
  type Perceptual,
  type Stage,
  type StageBatch,
  type TrainedStage,
  trainStage,
} from "@aligntok/aligntok";
import type { NdArray, Random } from "@aligntok/core";
import { createCosineSchedule, createRunLog, createWarmup } from "@aligntok/train";
import type { QuickstartOptions } from "../commands/quickstart.ts";
import { engineOptions } from "../engine-options.ts";
import { measurePsnr } from "../run/measure.ts";
import { makeFolder } from "../run/run-folder.ts";
import { chooseShown } from "../run/shown-losses.ts";
import { take } from "../run/take.ts";
import {
  batchSize,
  checkpointEvery,
  discriminator,
  discriminatorWeight,
  emaDecay,
  perceptualWeight,
  type StagePlan,
  semanticWeight,
} from "./config.ts";
import type { Photographs } from "./photographs.ts";

export interface StageRun {
  readonly stage: Stage;
  readonly folder: string;
  readonly trained: TrainedStage;
}

/** Trains a stage and measures it at every checkpoint. */
export async function runStage(
  previous: TrainedStage,
  plan: StagePlan,
  {
    folder,
    photographs,
    perceptual,
    options,
  }: {
    readonly folder: string;
    readonly photographs: Photographs;
    readonly perceptual: Perceptual;
    readonly options: QuickstartOptions;
  },
): Promise<StageRun> {
  const { stage, steps } = plan;
  await makeFolder(folder);
  const before = createTokenizer(previous, engineOptions(options));
  const schedule = createCosineSchedule(plan.lr, { steps, minimum: plan.lr / 20 });
  let known: StageInputsKnown | undefined;
  const log = createRunLog(folder);
  try {
    const trained = await trainStage(previous, {
      stage,
      folder,
      steps,
      async batch(_, random) {
        known ??= await precompute(before, stage, photographs);
        return drawBatch(photographs, known, random);
      },
      seed: options.seed,
      lr: createWarmup(schedule, { steps: Math.min(20, steps) }),
      perceptual,
      perceptualWeight,
      semanticWeight,
      discriminator,
      discriminatorWeight,
      discriminatorStart: plan.discriminatorStart,
      emaDecay,
      async evaluate(weights) {
        const tokenizer = createTokenizer(weights, engineOptions(options));
        const psnr = await measurePsnr(tokenizer, photographs.heldOut.images);
        tokenizer.dispose();
        return { psnr };
      },
      log,
      logEvery: 5,
      checkpointEvery: checkpointEvery(steps),
      keep: 1,
      ...engineOptions(options),
      signal: options.signal,
      onProgress: ({ task, done, total, metrics }) =>
        options.onProgress({
          task,
          done,
          total,
          ...(metrics && { metrics: chooseShown(metrics) }),
        }),
    });
    return { stage, folder, trained };
  } finally {
    before.dispose();
    log.close();
  }
}

/** What a frozen encoder gives for the whole pool, computed once: features for stage 1, latents for the others. */
interface StageInputsKnown {
  readonly features?: NdArray<"float32">;
  readonly latents?: NdArray<"float32">;
}

async function precompute(
  tokenizer: ReturnType<typeof createTokenizer>,
  stage: StagePlan["stage"],
  { pool }: Photographs,
): Promise<StageInputsKnown> {
  return stage === "latent"
    ? { features: await tokenizer.features(pool.images) }
    : { latents: await tokenizer.encode(pool.images) };
}

function drawBatch({ pool }: Photographs, known: StageInputsKnown, random: Random): StageBatch {
  const picks = Array.from({ length: batchSize }, () => random.integer(pool.images.shape[0]!));
  return {
    images: take(pool.images, picks),
    ...(known.features && { features: take(known.features, picks) }),
    ...(known.latents && { latents: take(known.latents, picks) }),
  };
}
