/**
 * The whole method on photographs: features, three stages, latents, diffusion, samples, metrics, report.
 *
 * Training leaves checkpoints in the run folder; all else is a function of them and is computed again. So a run
 * that was killed continues and ends in the same metrics.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import {
  createFeaturePerceptual,
  createLpipsPerceptual,
  createTokenizer,
  initTokenizer,
  type Perceptual,
  saveTokenizer,
  type TrainedStage,
} from "@aligntok/aligntok";
import { createRandom, type Images } from "@aligntok/core";
import { computeLatentStats, trainDiffusion } from "@aligntok/diffusion";
import { loadEncoder, type VisionEncoder } from "@aligntok/encoders";
import { loadLpips } from "@aligntok/lpips";
import { sampleEncoderPath } from "@aligntok/samples";
import { createCosineSchedule } from "@aligntok/train";
import type { QuickstartOptions, QuickstartResult } from "../commands/quickstart.ts";
import { engineOptions } from "../engine-options.ts";
import { createExtractor, measureStage, type StageMetrics } from "../run/measure.ts";
import { makeFolder, openClock, openRunFolder, writeJson } from "../run/run-folder.ts";
import { take } from "../run/take.ts";
import * as config from "./config.ts";
import { readPhotographs } from "./photographs.ts";
import { writeReport } from "./report-data.ts";
import { drawSamples } from "./samples.ts";
import { runStage, type StageRun } from "./stage-run.ts";

/** `metrics.json`. */
export interface QuickstartMetrics {
  readonly stages: Readonly<Record<"latent" | "perceptual" | "refine", StageMetrics>>;
  readonly diffusion: { readonly lossStart: number; readonly lossEnd: number };
  readonly samples: { readonly fd: number; readonly fdNoise: number };
  /** What the Fréchet distances were computed on. */
  readonly extractor: string;
  readonly perceptual: string;
  readonly seconds: number;
}

export async function runQuickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, minutes, seed, signal, log } = options;
  const encoderPath = options.encoder ?? sampleEncoderPath();
  const plans = config.planStages(minutes);

  // What can be wrong with the input is found before the folder is claimed by these settings.
  const began = performance.now();
  const encoder = await loadEncoder(encoderPath, engineOptions(options));
  const perceptual = await loadPerceptual(encoder, options);
  const photographs = await readPhotographs(options.images, { seed, signal });
  const { pool, heldOut, centres, classes } = photographs;
  log.info(
    `${centres.images.shape[0]} photographs to train on, ${heldOut.images.shape[0]} held out, ${classes.length} classes to generate`,
  );
  await openRunFolder(
    out,
    {
      command: "quickstart",
      minutes,
      seed,
      images: options.images ?? "samples",
      encoder: options.encoder ?? "embedded",
      perceptual: options.lpips ?? "features of the encoder",
      engine: options.engine,
      photographs: fingerprint(centres.images, heldOut.images),
      imageSize: config.imageSize,
      batchSize: config.batchSize,
      emaDecay: config.emaDecay,
      weights: {
        perceptual: config.perceptualWeight,
        discriminator: config.discriminatorWeight,
        semantic: config.semanticWeight,
      },
      decoder: config.decoder,
      discriminator: config.discriminator,
      stages: plans,
      diffusion: config.planDiffusion(minutes, classes.length),
      sampling: { ...config.sampling, ...config.planSampling(minutes, classes.length) },
    },
    { resume: true },
  );
  const clock = await openClock(out);
  await clock.add("photographs", (performance.now() - began) / 1000);

  let trained: TrainedStage = initTokenizer(
    { encoder, decoder: config.decoder, random: createRandom(seed, "tokenizer") },
    { imageSize: config.imageSize },
  );
  const pretrained = createTokenizer(trained, engineOptions(options));
  const extractor = createExtractor(pretrained, encoderName(encoder, options));
  const runs: StageRun[] = [];
  const metrics: StageMetrics[] = [];
  for (const [i, plan] of plans.entries()) {
    const folder = join(out, "stages", `${i + 1}-${plan.stage}`);
    const run = await clock.time(`stage ${i + 1}: ${plan.stage}`, () =>
      runStage(trained, plan, { folder, photographs, perceptual, options }),
    );
    trained = run.trained;
    runs.push(run);
    const tokenizer = createTokenizer(trained, engineOptions(options));
    const measured = await clock.time("metrics", () =>
      measureStage(tokenizer, photographs, extractor),
    );
    tokenizer.dispose();
    metrics.push(measured);
    log.info(
      `stage ${i + 1}: PSNR ${measured.psnr.toFixed(2)} dB, SSIM ${measured.ssim.toFixed(3)} on held-out photographs`,
    );
  }

  const tokenizer = createTokenizer(trained, engineOptions(options));
  const kept = [...pool.labels.keys()].filter((i) => pool.labels[i]! >= 0);
  const latents = await clock.time("latents", () => tokenizer.encode(take(pool.images, kept)));
  const stats = computeLatentStats(latents);
  await makeFolder(join(out, "tokenizer"));
  await saveTokenizer(join(out, "tokenizer"), { ...trained, stats });

  const plan = config.planDiffusion(minutes, classes.length);
  const model = await clock.time("diffusion", () =>
    trainDiffusion({
      config: plan.config,
      latents,
      labels: Int32Array.from(kept, (i) => pool.labels[i]!),
      stats,
      steps: plan.steps,
      batchSize: config.diffusionBatchSize,
      lr: createCosineSchedule(plan.lr, { steps: plan.steps, minimum: plan.lr / 10 }),
      emaDecay: plan.emaDecay,
      maxGradNorm: 1,
      seed,
      folder: join(out, "diffusion"),
      logEvery: 5,
      checkpointEvery: config.checkpointEvery(plan.steps),
      ...engineOptions(options),
      signal,
      onProgress: ({ done, total, metrics }) =>
        options.onProgress({
          task: "diffusion",
          done,
          total,
          ...(metrics && { metrics: { loss: metrics.loss! } }),
        }),
    }),
  );
  const samples = await clock.time("samples", () =>
    drawSamples(model, { tokenizer, photographs, extractor, options }),
  );

  const result = await clock.time("report", async () =>
    writeReport({
      out,
      options,
      photographs,
      runs,
      metrics,
      tokenizer,
      samples,
      clock,
      perceptual: perceptual.name,
      extractor: extractor.name,
    }),
  );
  tokenizer.dispose();
  pretrained.dispose();
  encoder.dispose();
  await writeJson(join(out, "metrics.json"), result);
  return { metrics: result, summary: summarize(result) };
}

/** Tells other photographs, which would make a resumed run a mixture. */
function fingerprint(...images: readonly Images[]): string {
  const hash = createHash("sha256");
  for (const { data } of images) hash.update(data);
  return hash.digest("hex").slice(0, 16);
}

/** LPIPS where its weights are given, otherwise features of the encoder as it was before any stage. */
async function loadPerceptual(
  encoder: VisionEncoder,
  { lpips }: QuickstartOptions,
): Promise<Perceptual> {
  if (!lpips) {
    return createFeaturePerceptual(encoder, { imageSize: config.imageSize, stride: config.stride });
  }
  return createLpipsPerceptual(
    await loadLpips([join(lpips, "vgg.safetensors"), join(lpips, "heads.safetensors")]),
  );
}

function encoderName(
  { config: { width, depth } }: VisionEncoder,
  { encoder }: QuickstartOptions,
): string {
  return encoder ? `${encoder} (ViT ${width}x${depth})` : `embedded ViT ${width}x${depth}`;
}

function summarize({
  stages,
  diffusion,
  samples,
  seconds,
  extractor,
}: QuickstartMetrics): string[] {
  const db = (stage: StageMetrics) => `${stage.psnr.toFixed(2)} dB`;
  return [
    `held-out PSNR: stage 1 ${db(stages.latent)}, stage 2 ${db(stages.perceptual)}, stage 3 ${db(stages.refine)}`,
    `diffusion loss: ${diffusion.lossStart.toFixed(3)} to ${diffusion.lossEnd.toFixed(3)}`,
    `distance of samples ${samples.fd.toFixed(0)}, of decoded noise ${samples.fdNoise.toFixed(0)} (Fréchet, ${extractor})`,
    `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`,
  ];
}
