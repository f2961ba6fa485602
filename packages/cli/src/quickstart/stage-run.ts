/** One stage of the tokenizer with its held-out PSNR on the way. */
import { join } from "node:path";
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
import { makeFolder, readJson, writeJson } from "../run/run-folder.ts";
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
  /** `[step, dB]` on held-out photographs. */
  readonly psnr: readonly (readonly [number, number])[];
}

/**
 * Trains a stage in parts, with a measurement after each. What was measured is on disk before the next part
 * begins, so a run that is started again knows which parts are over.
 */
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
  const { stage, steps, measurements } = plan;
  await makeFolder(folder);
  const measured = join(folder, "held-out.json");
  const psnr = (await readJson<[number, number][]>(measured)) ?? [];
  const before = createTokenizer(previous, engineOptions(options));
  const schedule = createCosineSchedule(plan.lr, { steps, minimum: plan.lr / 20 });
  let known: StageInputsKnown | undefined;
  const log = createRunLog(folder);

  const train = (until: number) =>
    trainStage(previous, {
      stage,
      folder,
      steps: until,
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
          total: Math.max(total, steps),
          ...(metrics && { metrics: chooseShown(metrics) }),
        }),
    });

  let trained: TrainedStage | undefined;
  try {
    for (let part = 1; part <= measurements; part++) {
      const until = Math.round((steps * part) / measurements);
      if (psnr.some(([step]) => step >= until)) continue;
      trained = await train(until);
      const tokenizer = createTokenizer(trained, engineOptions(options));
      psnr.push([until, await measurePsnr(tokenizer, photographs.heldOut.images)]);
      tokenizer.dispose();
      await writeJson(measured, psnr);
    }
    trained ??= await train(steps);
  } finally {
    before.dispose();
    log.close();
  }
  return { stage, folder, trained, psnr };
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
