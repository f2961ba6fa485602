/** report.html, samples/*.png and the content of metrics.json from what a run produced. */
import { join } from "node:path";
import type { AlignedTokenizer } from "@aligntok/aligntok";
import { createTokenizer } from "@aligntok/aligntok";
import { writeFileAtomic } from "@aligntok/checkpoint";
import type { Images } from "@aligntok/core";
import { contactSheet, encodePng } from "@aligntok/image";
import { readRunLog } from "@aligntok/train";
import type { QuickstartOptions } from "../commands/quickstart.ts";
import { engineOptions } from "../engine-options.ts";
import type { ReportGallery } from "../report/blocks.ts";
import { paperStages } from "../report/paper.ts";
import { renderReport } from "../report/report.ts";
import {
  chartStages,
  drawReconstructions,
  imageAt,
  pickEvenly,
  type StageView,
  showLatentMaps,
  showReconstructions,
  viewStage,
} from "../report/stage-sections.ts";
import { learnable, type StageMetrics } from "../run/measure.ts";
import { type Clock, makeFolder } from "../run/run-folder.ts";
import { take } from "../run/take.ts";
import { installedVersions } from "../version.ts";
import * as config from "./config.ts";
import type { Photographs } from "./photographs.ts";
import type { QuickstartMetrics } from "./run.ts";
import { type Samples, shownPerClass } from "./samples.ts";
import type { StageRun } from "./stage-run.ts";

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
  const stages = await viewStages(input, originals);
  await makeFolder(join(out, "samples"));
  for (const { scale, images } of samples.byScale) {
    const sheet = contactSheet(images, { columns: shownPerClass });
    await writeFileAtomic(join(out, "samples", `guidance-${scale}.png`), await encodePng(sheet));
  }
  const hero = drawReconstructions(originals, stages, 6);
  const heroPng = await encodePng(hero);
  await writeFileAtomic(join(out, "samples", "reconstructions.png"), heroPng);

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
        png: heroPng,
        width: hero.shape[1]!,
        height: hero.shape[0]!,
      },
    },
    curves: [
      ...(await chartStages(stages)),
      { title: "Diffusion loss", series: [{ name: "mean squared error", points: losses }] },
    ],
    reconstructions: [await showReconstructions(originals, stages)],
    latentMaps: [await latentMapsOf(input, stages, originals)],
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
          `${stages[i]!.name}: ${input.runs[i]!.stage}`,
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
      versions: installedVersions(),
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

async function viewStages({ runs, options }: ReportInput, images: Images): Promise<StageView[]> {
  const views: StageView[] = [];
  for (const [i, { trained, folder }] of runs.entries()) {
    const tokenizer = createTokenizer(trained, engineOptions(options));
    views.push(await viewStage(tokenizer, images, { name: `stage ${i + 1}`, folder }));
    tokenizer.dispose();
  }
  return views;
}

async function latentMapsOf(
  { runs, options }: ReportInput,
  [latent, perceptual]: readonly StageView[],
  photographs: Images,
): Promise<ReportGallery> {
  const first = createTokenizer(runs[0]!.trained, engineOptions(options));
  const tokens = await first.features(photographs);
  first.dispose();
  const side = config.imageSize / config.stride;
  const features = { ...tokens, shape: [photographs.shape[0]!, side, side, tokens.shape.at(-1)!] };
  const maps = [
    { name: "encoder", map: features },
    { name: "latents, stage 1", map: latent!.latents },
    { name: "latents, stage 2", map: perceptual!.latents },
  ];
  return showLatentMaps(photographs, maps, 6);
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
