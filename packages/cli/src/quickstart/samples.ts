/** Images from noise: per class and guidance scale, and the distances that say whether they mean anything. */
import type { AlignedTokenizer } from "@aligntok/aligntok";
import { createRandom, type FeatureExtractor, type Images, ndarray, sizeOf } from "@aligntok/core";
import {
  createDenoiser,
  type DiffusionModel,
  denormalizeLatents,
  sampleLatents,
} from "@aligntok/diffusion";
import { computeFrechetDistance } from "@aligntok/eval-fid";
import type { QuickstartOptions } from "../commands/quickstart.ts";
import { engineOptions } from "../engine-options.ts";
import { learnable, statisticsOf } from "../run/measure.ts";
import { imageSize, mostShownClasses, planSampling, sampling } from "./config.ts";
import type { Photographs } from "./photographs.ts";

export interface Samples {
  /** Images by guidance scale: `(classes * shownPerClass, 128, 128, 3)`, class by class. */
  readonly byScale: readonly { readonly scale: number; readonly images: Images }[];
  /** Number of samples that the distances are computed on. */
  readonly count: number;
  /** Fréchet distance of guided samples to the training photographs of the classes. */
  readonly fd: number;
  /** The same of decoded noise: what a generator that learned nothing would get. */
  readonly fdNoise: number;
}

/** Samples of a class that the report shows. */
export const shownPerClass = 4;

export async function drawSamples(
  model: DiffusionModel,
  {
    tokenizer,
    photographs,
    extractor,
    options,
  }: {
    readonly tokenizer: AlignedTokenizer;
    readonly photographs: Photographs;
    readonly extractor: FeatureExtractor;
    readonly options: QuickstartOptions;
  },
): Promise<Samples> {
  const { minutes, seed, signal, onProgress } = options;
  const { points, perClass } = planSampling(minutes, photographs.classes.length);
  const denoiser = createDenoiser(model.config, model.ema ?? model.params, engineOptions(options));
  const latentShape = tokenizer.latentShape(imageSize, imageSize);
  const stats = model.stats!;
  const labelsOf = (classes: readonly string[], count: number) =>
    classes.flatMap((_, label) => Array.from({ length: count }, () => label));
  const { classes } = photographs;

  async function generate(scale: number, labels: readonly number[]): Promise<Images> {
    const latents = await sampleLatents(denoiser, {
      labels,
      latentShape,
      seed,
      points,
      timestepShift: sampling.timestepShift,
      cfgScale: scale,
      cfgChannels: "all",
      batchSize: 28,
      signal,
      onProgress: (progress) => onProgress({ ...progress, task: `sampling, guidance ${scale}` }),
    });
    return tokenizer.decode(denormalizeLatents(latents, stats));
  }

  const byScale = [];
  const shown = labelsOf(classes.slice(0, mostShownClasses), shownPerClass);
  for (const scale of sampling.scales)
    byScale.push({ scale, images: await generate(scale, shown) });
  const guided = await generate(sampling.measuredScale, labelsOf(classes, perClass));
  denoiser.dispose();

  const shape = [guided.shape[0]!, ...latentShape];
  const noise = ndarray(createRandom(seed, "noise images").normals(sizeOf(shape)), shape);
  const noiseImages = await tokenizer.decode(denormalizeLatents(noise, stats));
  const real = await statisticsOf(learnable(photographs.centres).images, extractor);
  const distanceTo = async (images: Images) =>
    computeFrechetDistance(real, await statisticsOf(images, extractor)).value;
  return {
    byScale,
    count: guided.shape[0]!,
    fd: await distanceTo(guided),
    fdNoise: await distanceTo(noiseImages),
  };
}
