/** The numbers of a row: reconstruction, what the latents tell of the classes, and what a diffusion model makes of them. */
import { join } from "node:path";
import { type Images, type NdArray, rows } from "@aligntok/core";
import {
  computeLatentStats,
  createDenoiser,
  denormalizeLatents,
  sampleLatents,
  trainDiffusion,
} from "@aligntok/diffusion";
import {
  computeAccuracy,
  computeCknna,
  computeFrechetDistance,
  computePsnr,
  computeSsim,
  fitLinearProbe,
  meanPool,
} from "@aligntok/eval-fid";
import { createCosineSchedule } from "@aligntok/train";
import type { Judge } from "./judge.ts";
import { mirror } from "./photographs.ts";
import * as recipe from "./recipe.ts";
import type { RowId } from "./rows.ts";
import type { Setting, TrainedRow } from "./train-row.ts";

export interface Measures {
  /** dB, mean of the held-out photographs. */
  readonly psnr: number;
  readonly ssim: number;
  /** Fréchet distance of the held-out photographs and their reconstructions, in the judge's features. */
  readonly rfd: number;
  /** Accuracy of a linear classifier on the mean latent, on held-out photographs, 0 to 1. */
  readonly probe: number;
  /** Alignment of mean latents with the mean tokens of the pretrained encoder, on held-out photographs. */
  readonly cknna: number;
  /** Fréchet distance of samples without guidance and the photographs that were trained on. @default not measured */
  readonly gfd?: number;
  /** The same with guidance. */
  readonly gfdGuided?: number;
  /**
   * Fréchet distance of guided samples and the reconstructions of as many of those photographs: what the diffusion model
   * adds to the loss of the decoder, which they have in common.
   */
  readonly gfdReconstructed?: number;
}

export async function measureTokenizer(
  { tokenizer }: TrainedRow,
  { photographs, encoder }: Setting,
  judge: Judge,
): Promise<Pick<Measures, "psnr" | "ssim" | "rfd" | "probe" | "cknna">> {
  const { train, heldOut, classes } = photographs;
  const pooled = async (images: Images) => meanPool(await tokenizer.encode(images));
  const test = await pooled(heldOut.images);
  const probe = fitLinearProbe(await pooled(train.images), train.labels, { classes, l2: 1e-2 });
  const decoded = await tokenizer.decode(await tokenizer.encode(heldOut.images));
  const tokens = meanPool(await encoder.features(heldOut.images), {
    start: encoder.prefixTokens,
  });
  return {
    psnr: computePsnr(heldOut.images, decoded).mean,
    ssim: computeSsim(heldOut.images, decoded).mean,
    rfd: computeFrechetDistance(judge.heldOut, await judge.statisticsOf(decoded)).value,
    probe: computeAccuracy(probe.predict(test), heldOut.labels),
    cknna: computeCknna(test, tokens),
  };
}

/**
 * Trains a LightningDiT on the latents of a row and judges its samples.
 *
 * @param id the row whose latents they are: a refined decoder takes those of the row that it was refined from
 */
export async function measureSamples(
  id: RowId,
  { tokenizer, latentsOf }: TrainedRow,
  { setting, judge }: { readonly setting: Setting; readonly judge: Judge },
): Promise<Pick<Measures, "gfd" | "gfdGuided" | "gfdReconstructed">> {
  const { photographs, seed, engine, report } = setting;
  const { train, classes } = photographs;
  const { diffusion, sampling } = recipe;
  const latents = await latentsOf(train.images);
  const flipped = await latentsOf(mirror(train.images));
  const stats = computeLatentStats(latents);
  const { steps, lr } = diffusion;
  const model = await trainDiffusion({
    ...diffusion,
    ...engine,
    config: { ...diffusion.config, classes },
    latents,
    flipped,
    labels: train.labels,
    stats,
    lr: createCosineSchedule(lr, { steps, minimum: lr / 10 }),
    maxGradNorm: 1,
    seed,
    folder: join(setting.folder, id, "diffusion"),
    checkpointEvery: 200,
    onProgress: ({ done, total }) => report(`${id}, diffusion`, done, total ?? steps),
  });
  const denoiser = createDenoiser(model.config, model.ema ?? model.params, engine);
  const sample = async (cfgScale: number): Promise<NdArray<"float32">> =>
    denormalizeLatents(
      await sampleLatents(denoiser, {
        ...sampling,
        labels: Array.from({ length: sampling.count }, (_, i) => i % classes),
        latentShape: latents.shape.slice(1) as [number, number, number],
        seed,
        cfgScale,
        cfgChannels: "all",
        batchSize: 50,
        onProgress: ({ done, total }) =>
          report(`${id}, samples at guidance ${cfgScale}`, done, total ?? 0),
      }),
      stats,
    );
  const judgeLatents = async (values: NdArray<"float32">) =>
    judge.statisticsOf(await tokenizer.decode(values));
  try {
    const plain = await judgeLatents(await sample(1));
    const guided = await judgeLatents(await sample(sampling.cfgScale));
    const reconstructed = await judgeLatents(rows(latents, 0, sampling.count));
    return {
      gfd: computeFrechetDistance(judge.train, plain).value,
      gfdGuided: computeFrechetDistance(judge.train, guided).value,
      gfdReconstructed: computeFrechetDistance(reconstructed, guided).value,
    };
  } finally {
    denoiser.dispose();
  }
}
