/** The stages of a configuration, one after the other, each from the weights that the one before left. */
import { join } from "node:path";
import { createTokenizer } from "@aligntok/aligntok";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { createRandom, type Images, type Tokenizer } from "@aligntok/core";
import { computeLatentStats } from "@aligntok/diffusion";
import { computePsnr } from "@aligntok/eval-fid";
import { encodePng, type Image } from "@aligntok/image";
import { createRunLog, createSchedule, type Metrics, type TrainingProgress } from "@aligntok/train";
import { engineOptions } from "../engine-options.ts";
import {
  drawReconstructions,
  pickEvenly,
  type StageView,
  viewStage,
} from "../report/stage-sections.ts";
import { createExtractor, measureStage, type StageMetrics } from "../run/measure.ts";
import { makeFolder, openClock, openRunFolder, writeJson } from "../run/run-folder.ts";
import { chooseShown } from "../run/shown-losses.ts";
import { take } from "../run/take.ts";
import type { Session } from "../session.ts";
import { stagesOf } from "./tokenizer-config.ts";
import { writeTokenizerReport } from "./tokenizer-report.ts";
import type { TokenizerTraining } from "./tokenizer-training.ts";
import type { Trainee } from "./trainee.ts";
import {
  classNames,
  createStepBatches,
  fingerprintImages,
  readLabelled,
} from "./training-images.ts";

/** Images of each kind that a stage is measured on, and that the report shows. */
const measured = { train: 500, heldOut: 200, shown: 8 } as const;

export interface TokenizerRunOptions {
  /** Run folder, made where absent. */
  readonly out: string;
  /** What the report calls the run. */
  readonly name: string;
  /** Whether to continue what the folder holds. */
  readonly resume: boolean;
  readonly session: Session;
  /** Of every stage. @default as the configuration says */
  readonly onNaN?: "stop" | "skip";
}

export interface TrainedTokenizer {
  /** `metrics.json`: a row for each stage. */
  readonly metrics: { readonly stages: readonly (StageMetrics & { readonly stage: string })[] };
  /** The outcome in plain words, one line each. */
  readonly summary: readonly string[];
}

/**
 * Trains every stage and measures it. Checkpoints of each stage, its tokenizer, the report and the metrics go to the run
 * folder; `tokenizer/` in it is the last stage's, with the statistics of its latents.
 *
 * @throws AlignTokError of `trainStage`; `bad-input` where the folder holds a run and `resume` is not set
 */
export async function runTokenizerTraining(
  training: TokenizerTraining,
  options: TokenizerRunOptions,
): Promise<TrainedTokenizer> {
  const { out, name, resume, session, onNaN } = options;
  const { config, images, initial, pretrained: given, seed } = training;
  const { data } = config;
  const stages = stagesOf(config);
  const settings = {
    command: "train tokenizer",
    seed,
    fingerprint: fingerprintImages(images),
    ...config,
  };
  await openRunFolder(out, settings, { resume });
  const clock = await openClock(out);
  const load = (dataset: typeof images.train, count: number) =>
    readLabelled(dataset, {
      count,
      size: data.size,
      onError: data.onError,
      signal: session.signal,
    });
  const photographs = {
    classes: classNames(images.train),
    centres: await load(images.train, measured.train),
    heldOut: await load(images.heldOut, measured.heldOut),
  };
  const heldOut = photographs.heldOut.images;
  const picked = pickEvenly(heldOut.shape[0]!, measured.shown);
  const shown = take(heldOut, picked);
  const pretrained = createTokenizer(given, engineOptions(session));
  const extractor = createExtractor(pretrained, config.encoder);

  await makeFolder(join(out, "samples"));
  const writeSample = async (name: string, sheet: Image) =>
    writeFileAtomic(join(out, "samples", `${name}.png`), await encodePng(sheet));
  async function watch(tokenizer: Tokenizer, picture: string): Promise<Metrics> {
    const decoded = await tokenizer.decode(await tokenizer.encode(heldOut));
    const some = { decoded: take(decoded, picked) };
    await writeSample(picture, drawReconstructions(shown, [some], measured.shown));
    return { psnr: computePsnr(heldOut, decoded).mean };
  }

  const views: StageView[] = [];
  const metrics: (StageMetrics & { readonly stage: string })[] = [];
  let trained = initial;
  for (const [i, { name: stage }] of stages.entries()) {
    const folder = join(out, "stages", `${i + 1}-${stage}`);
    trained = await clock.time(`stage ${i + 1}: ${stage}`, () =>
      runStage(trained, i, { training, folder, session, watch, onNaN }),
    );
    const tokenizer = trained.open(engineOptions(session));
    await clock.time("metrics", async () => {
      metrics.push({ stage, ...(await measureStage(tokenizer, photographs, extractor)) });
      views.push(await viewStage(tokenizer, shown, { name: `stage ${i + 1}`, folder }));
    });
    const last = i + 1 === stages.length;
    const stats = last ? await statsOf(tokenizer, photographs.centres.images) : undefined;
    tokenizer.dispose();
    await trained.save(last ? join(out, "tokenizer") : join(folder, "tokenizer"), stats);
    await writeSample("reconstructions", drawReconstructions(shown, views, measured.shown));
    session.log.info(`stage ${i + 1}: ${describeMetrics(metrics.at(-1)!)}`);
  }
  const features = await pretrained.features(shown);
  pretrained.dispose();
  await writeTokenizerReport({
    out,
    name,
    training,
    session,
    shown,
    features,
    views,
    metrics,
    clock,
  });
  await writeJson(join(out, "metrics.json"), { stages: metrics });
  return {
    metrics: { stages: metrics },
    summary: [
      ...metrics.map((row, i) => `stage ${i + 1}, ${row.stage}: ${describeMetrics(row)}`),
      `tokenizer: ${join(out, "tokenizer")}`,
      `report: ${join(out, "report.html")}`,
    ],
  };
}

/** Runs a stage to its end, from its last checkpoint where there is one. */
async function runStage(
  previous: Trainee,
  index: number,
  {
    training: { config, images, perceptual, seed },
    folder,
    session,
    watch,
    onNaN,
  }: {
    readonly training: TokenizerTraining;
    readonly folder: string;
    readonly session: Session;
    /** Looks at the tokenizer of a checkpoint. */
    readonly watch: (tokenizer: Tokenizer, picture: string) => Promise<Metrics>;
    readonly onNaN: "stop" | "skip" | undefined;
  },
): Promise<Trainee> {
  const { data, batchSize, microBatch, discriminator, checkpointEvery, logEvery } = config;
  const { name, steps, rate } = stagesOf(config)[index]!;
  const { lr, schedule, warmup } = rate;
  const { signal, onProgress } = session;
  await makeFolder(folder);
  const log = createRunLog(folder);
  const batches = createStepBatches(images.train, {
    batchSize,
    size: data.size,
    crop: data.crop,
    flip: data.flip,
    onError: data.onError,
    seed: createRandom(seed, name, "images").integer(2 ** 31),
    signal,
  });
  const run = {
    folder,
    batch: batches.read,
    seed,
    lr: createSchedule(lr, { shape: schedule, steps, warmup, minimum: lr / 20 }),
    ...(microBatch && { microBatch }),
    ...(perceptual && { perceptual }),
    ...(onNaN && { onNaN }),
    discriminator,
    log,
    logEvery,
    checkpointEvery,
    ...engineOptions(session),
    signal,
    onProgress: ({ task, done, total, metrics }: TrainingProgress) =>
      onProgress({ task, done, total, ...(metrics && { metrics: chooseShown(metrics) }) }),
  };
  try {
    return await previous.train(index, run, (trainee, step) => {
      const tokenizer = trainee.open(engineOptions(session));
      return watch(tokenizer, `${name}-${String(step).padStart(6, "0")}`).finally(
        tokenizer.dispose,
      );
    });
  } finally {
    log.close();
    const replaced = Object.entries(batches.skipped());
    if (replaced.length > 0) {
      session.log.warn(
        `stage ${name}: other images stood in for some that could not be read (${replaced.map(([code, count]) => `${code}: ${count}`).join(", ")})`,
      );
    }
  }
}

async function statsOf(tokenizer: Tokenizer, images: Images) {
  return computeLatentStats(await tokenizer.encode(images));
}

function describeMetrics({ psnr, ssim, probe }: StageMetrics): string {
  const classified = probe === null ? "" : `, linear probe ${(100 * probe).toFixed(1)} %`;
  return `PSNR ${psnr.toFixed(2)} dB, SSIM ${ssim.toFixed(3)}${classified} on held-out images`;
}
