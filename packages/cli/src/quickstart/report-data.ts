/** report.html, samples/*.png and the content of metrics.json from what a run produced. */
import { join } from "node:path";
import type { AlignedTokenizer } from "@aligntok/aligntok";
import { createTokenizer } from "@aligntok/aligntok";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { type Images, type NdArray, rows } from "@aligntok/core";
import { contactSheet, encodePng, type Image, resize } from "@aligntok/image";
import { readRunLog } from "@aligntok/train";
import type { QuickstartOptions } from "../commands/quickstart.ts";
import { engineOptions } from "../engine-options.ts";
import type { ReportGallery } from "../report/blocks.ts";
import type { ReportChart, ReportSeries } from "../report/chart.ts";
import { paperStages } from "../report/paper.ts";
import { computePcaMaps } from "../report/pca.ts";
import { renderReport } from "../report/report.ts";
import { versionOf } from "../version.ts";
import * as config from "./config.ts";
import { learnable, type StageMetrics } from "./measure.ts";
import type { Photographs } from "./photographs.ts";
import type { QuickstartMetrics } from "./run.ts";
import { type Clock, makeFolder } from "./run-folder.ts";
import { type Samples, shownPerClass } from "./samples.ts";
import type { StageRun } from "./stage-run.ts";
import { take } from "./take.ts";

export interface ReportInput {
  readonly out: string;
  readonly options: QuickstartOptions;
  readonly photographs: Photographs;
  readonly runs: readonly StageRun[];
  readonly metrics: readonly StageMetrics[];
  readonly tokenizer: AlignedTokenizer;
  readonly samples: Samples;
  readonly clock: Clock;
  readonly perceptual: string;
  readonly extractor: string;
}

const stageNames = ["stage 1", "stage 2", "stage 3"];
const shownPhotographs = 10;

export async function writeReport(input: ReportInput): Promise<QuickstartMetrics> {
  const { out, options, photographs, samples, clock, metrics } = input;
  const diffusionLog = await readRunLog(join(out, "diffusion"));
  const losses = diffusionLog.map(({ step, loss }) => [step, loss!] as const);
  const seconds = Object.values(clock.seconds).reduce((sum, s) => sum + s, 0);
  const [latent, perceptual, refine] = metrics as [StageMetrics, StageMetrics, StageMetrics];
  const result: QuickstartMetrics = {
    stages: { latent, perceptual, refine },
    diffusion: { lossStart: losses[0]![1], lossEnd: meanOfLast(losses) },
    samples: { fd: samples.fd, fdNoise: samples.fdNoise },
    extractor: input.extractor,
    perceptual: input.perceptual,
    seconds,
  };

  const picked = pickEvenly(photographs.heldOut.images.shape[0]!, shownPhotographs);
  const originals = take(photographs.heldOut.images, picked);
  const decoded = await decodeWithEveryStage(input, originals);
  await makeFolder(join(out, "samples"));
  for (const { scale, images } of samples.byScale) {
    const sheet = contactSheet(images, { columns: shownPerClass });
    await writeFileAtomic(join(out, "samples", `guidance-${scale}.png`), await encodePng(sheet));
  }
  const across = Math.min(6, picked.length);
  const hero = contactSheet(
    [originals, ...decoded].flatMap((images) =>
      Array.from({ length: across }, (_, i) => imageAt(images, i)),
    ),
    { columns: across },
  );
  await writeFileAtomic(join(out, "samples", "reconstructions.png"), await encodePng(hero));

  const html = renderReport({
    title: "AlignTok quickstart",
    subtitle: `${photographs.source}, ${options.minutes} nominal minutes, seed ${options.seed}`,
    summary: {
      paragraphs: summaryOf(input),
      facts: [
        {
          label: "PSNR after stage 3",
          value: `${refine.psnr.toFixed(2)} dB`,
          note: "held-out photographs",
        },
        {
          label: "gained since stage 1",
          value: `${(refine.psnr - latent.psnr).toFixed(2)} dB`,
          note: "held-out photographs",
        },
        {
          label: "samples are nearer than noise",
          value: `${(samples.fdNoise / samples.fd).toFixed(1)} times`,
          note: "Fréchet distance to photographs",
        },
        {
          label: "time",
          value: `${(seconds / 60).toFixed(1)} min`,
          note: "computing, without this report",
        },
      ],
      figure: {
        caption:
          "Held-out photographs (top), and what the tokenizer makes of them after stages 1, 2 and 3.",
        png: await encodePng(hero),
        width: hero.shape[1]!,
        height: hero.shape[0]!,
      },
    },
    curves: [
      ...(await curvesOf(input)),
      { title: "Diffusion loss", series: [{ name: "mean squared error", points: losses }] },
    ],
    reconstructions: [
      {
        columns: ["photograph", ...stageNames],
        groups: await Promise.all(
          picked.map(async (_, i) => ({
            rows: [
              {
                pngs: await Promise.all(
                  [originals, ...decoded].map((images) => encodePng(imageAt(images, i))),
                ),
              },
            ],
          })),
        ),
      },
    ],
    latentMaps: [await latentMapsOf(input, originals)],
    metrics: [
      {
        columns: [
          "",
          ["PSNR", "dB"],
          "SSIM",
          ["Fréchet distance", input.extractor],
          ["linear probe", "latents"],
        ],
        rows: metrics.map(({ psnr, ssim, fd, probe }, i) => [
          `${stageNames[i]}: ${input.runs[i]!.stage}`,
          psnr.toFixed(2),
          ssim.toFixed(3),
          fd,
          probe === null ? undefined : `${(100 * probe).toFixed(1)} %`,
        ]),
        caption: `On ${photographs.heldOut.images.shape[0]} held-out photographs. The probe is a linear classifier of ${photographs.classes.length} classes on averaged latents. Perceptual term of the loss: ${input.perceptual}.`,
        context: paperStages,
      },
      {
        columns: ["", ["Fréchet distance", input.extractor]],
        rows: [
          [`samples, guidance ${config.sampling.measuredScale}`, samples.fd],
          ["decoded noise", samples.fdNoise],
        ],
        caption: `${input.samples.count} generated images, and as many of decoded noise, against ${learnable(photographs.centres).labels.length} training photographs of these classes. So few images give a biased estimate: compare only distances of equal numbers. The extractor is the encoder that the tokenizer was made from, which flatters it.`,
      },
    ],
    samples: await samplesOf(input),
    run: {
      timings: timingsOf(input),
      seed: options.seed,
      versions: versions(),
      config: {
        encoder: options.encoder ?? "embedded (packages/samples/vit-tiny-distilled)",
        images: photographs.source,
        stages: config.planStages(options.minutes),
        decoder: config.decoder,
        discriminator: config.discriminator,
        weights: {
          perceptual: config.perceptualWeight,
          discriminator: config.discriminatorWeight,
          semantic: config.semanticWeight,
        },
        diffusion: config.planDiffusion(options.minutes, photographs.classes.length),
        sampling: {
          ...config.sampling,
          ...config.planSampling(options.minutes, photographs.classes.length),
        },
      },
      command: commandOf(options),
    },
  });
  await writeFileAtomic(join(out, "report.html"), html);
  return result;
}

function summaryOf({ photographs, metrics, samples }: ReportInput): string[] {
  const [latent, perceptual, refine] = metrics as [StageMetrics, StageMetrics, StageMetrics];
  const [train, held] = [photographs.centres.images.shape[0], photographs.heldOut.images.shape[0]];
  return [
    `A pretrained image encoder was turned into the tokenizer of a diffusion model in three stages, on ${train} photographs; ${held} others were kept aside to judge it.`,
    `Stage 1 trained a decoder on the frozen encoder and reached ${latent.psnr.toFixed(2)} dB; stage 2 trained the encoder too, held near its old latents, and reached ${perceptual.psnr.toFixed(2)} dB; stage 3 refined the decoder alone, to ${refine.psnr.toFixed(2)} dB.`,
    `Then a diffusion transformer learned the latents of ${photographs.classes.length} classes. Its samples lie at a Fréchet distance of ${samples.fd.toFixed(0)} from the photographs, decoded noise at ${samples.fdNoise.toFixed(0)}.`,
  ];
}

/** Mean of the last tenth, as single steps scatter. */
function meanOfLast(points: readonly (readonly [number, number])[]): number {
  const last = points.slice(-Math.max(1, Math.floor(points.length / 10)));
  return last.reduce((sum, [, value]) => sum + value, 0) / last.length;
}

function pickEvenly(length: number, count: number): number[] {
  const most = Math.min(length, count);
  return Array.from({ length: most }, (_, i) => Math.floor((i * length) / most));
}

function imageAt(images: Images, index: number): Image {
  const { data } = rows(images, index, index + 1);
  return { dtype: "uint8", shape: images.shape.slice(1), data };
}

async function decodeWithEveryStage(
  { runs, options }: ReportInput,
  images: Images,
): Promise<Images[]> {
  const decoded: Images[] = [];
  for (const { trained } of runs) {
    const tokenizer = createTokenizer(trained, engineOptions(options));
    decoded.push(await tokenizer.decode(await tokenizer.encode(images)));
    tokenizer.dispose();
  }
  return decoded;
}

async function curvesOf({ runs }: ReportInput): Promise<ReportChart[]> {
  const logs = await Promise.all(runs.map(({ folder }) => readRunLog(folder)));
  const series = (key: string): ReportSeries[] =>
    logs.flatMap((lines, i) => {
      const points = lines.flatMap((line) =>
        line[key] === undefined ? [] : [[line.step, line[key]] as const],
      );
      return points.length > 0 ? [{ name: stageNames[i]!, points }] : [];
    });
  return [
    {
      title: "PSNR on held-out photographs",
      unit: "dB",
      series: runs.map(({ psnr }, i) => ({ name: stageNames[i]!, points: psnr })),
    },
    { title: "L1 loss", series: series("absolute") },
    { title: "Perceptual loss", series: series("perceptual") },
    { title: "Discriminator loss", series: series("discriminator") },
    { title: "Semantic preservation loss", series: series("semantic") },
  ].filter(({ series }) => series.length > 0);
}

async function latentMapsOf(input: ReportInput, images: Images): Promise<ReportGallery> {
  const { runs, options } = input;
  const first = createTokenizer(runs[0]!.trained, engineOptions(options));
  const tokens = await first.features(images);
  const side = config.imageSize / config.stride;
  const features = { ...tokens, shape: [images.shape[0]!, side, side, tokens.shape.at(-1)!] };
  const before = await first.encode(images);
  first.dispose();
  const maps = [features, before, await input.tokenizer.encode(images)].map((map) =>
    computePcaMaps(map as NdArray<"float32">),
  );
  return {
    columns: ["photograph", "encoder", "latents, stage 1", "latents, stage 2"],
    pixels: true,
    groups: await Promise.all(
      Array.from({ length: Math.min(6, images.shape[0]!) }, async (_, i) => ({
        rows: [
          {
            pngs: await Promise.all([
              encodePng(imageAt(images, i)),
              ...maps.map((map) =>
                encodePng(resize(imageAt(map, i), { width: 64, height: 64, filter: "nearest" })),
              ),
            ]),
          },
        ],
      })),
    ),
  };
}

async function samplesOf({ samples, photographs }: ReportInput): Promise<ReportGallery[]> {
  return [
    {
      groups: await Promise.all(
        photographs.classes.slice(0, config.mostShownClasses).map(async (title, label) => ({
          title,
          rows: await Promise.all(
            samples.byScale.map(async ({ scale, images }) => ({
              label: scale === 1 ? "no guidance" : `guidance ${scale}`,
              pngs: await Promise.all(
                Array.from({ length: shownPerClass }, (_, i) =>
                  encodePng(imageAt(images, label * shownPerClass + i)),
                ),
              ),
            })),
          ),
        })),
      ),
    },
  ];
}

function timingsOf({ clock, options, photographs }: ReportInput) {
  const steps = new Map(
    config
      .planStages(options.minutes)
      .map(({ stage, steps }, i) => [`stage ${i + 1}: ${stage}`, steps]),
  );
  steps.set("diffusion", config.planDiffusion(options.minutes, photographs.classes.length).steps);
  return {
    columns: ["", "steps", ["time", "s"], ["time / steps", "ms, all included"]] as const,
    rows: Object.entries(clock.seconds).map(([part, seconds]) => {
      const count = steps.get(part);
      return [part, count, seconds.toFixed(1), count && ((1000 * seconds) / count).toFixed(0)];
    }),
  };
}

function versions(): Record<string, string> {
  const known = {
    aligntok: versionOf("@aligntok/cli"),
    "onnxruntime-node": versionOf("onnxruntime-node", "@aligntok/jit"),
  };
  const present = Object.entries(known).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return { node: process.version.slice(1), ...Object.fromEntries(present) };
}

function commandOf(options: QuickstartOptions): string {
  const { minutes, seed, images, encoder, lpips, engine, threads } = options;
  const quote = (path: string) => (/^[\w./{}-]+$/.test(path) ? path : JSON.stringify(path));
  const flags = [
    `--minutes ${minutes}`,
    `--seed ${seed}`,
    images && `--images ${quote(images)}`,
    encoder && `--encoder ${quote(encoder)}`,
    lpips && `--lpips ${quote(lpips)}`,
    engine !== "onnxruntime" && `--engine ${engine}`,
    threads && `--threads ${threads}`,
  ];
  return `aligntok quickstart ${flags.filter(Boolean).join(" ")}`;
}
