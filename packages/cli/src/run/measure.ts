/** The figures of metrics.json. */
import type { AlignedTokenizer } from "@aligntok/aligntok";
import type { FeatureExtractor, Images, NdArray, Tokenizer } from "@aligntok/core";
import {
  computeAccuracy,
  computeFeatureStatistics,
  computeFrechetDistance,
  computePsnr,
  computeSsim,
  type FeatureStatistics,
  fitLinearProbe,
  meanPool,
} from "@aligntok/eval-fid";
import { take } from "./take.ts";

/** Images of one size with the class of each. */
export interface LabelledImages {
  /** `(N, H, W, 3)` */
  readonly images: Images;
  /** Index into the classes; -1 for an image of none of them. */
  readonly labels: Int32Array;
}

/** What stages are measured on. */
export interface MeasuredImages {
  readonly classes: readonly string[];
  /** Centre crops of images that were trained on: the linear probe learns from them. */
  readonly centres: LabelledImages;
  readonly heldOut: LabelledImages;
}

/** What is measured of a stage, on held-out photographs. */
export interface StageMetrics {
  /** Mean over images, dB. */
  readonly psnr: number;
  readonly ssim: number;
  /** Fréchet distance between photographs and reconstructions, in the extractor's features. */
  readonly fd: number;
  /** Accuracy of a linear classifier on averaged latents, 0 to 1; null where there is one class. */
  readonly probe: number | null;
}

export async function measureStage(
  tokenizer: Tokenizer,
  { centres, heldOut, classes }: MeasuredImages,
  extractor: FeatureExtractor,
): Promise<StageMetrics> {
  const latents = await tokenizer.encode(heldOut.images);
  const decoded = await tokenizer.decode(latents);
  const distance = computeFrechetDistance(
    await statisticsOf(heldOut.images, extractor),
    await statisticsOf(decoded, extractor),
  );
  const [train, test] = [learnable(centres), learnable(heldOut)];
  return {
    psnr: computePsnr(heldOut.images, decoded).mean,
    ssim: computeSsim(heldOut.images, decoded).mean,
    fd: distance.value,
    probe:
      classes.length < 2 || test.labels.length === 0
        ? null
        : probe(
            { features: meanPool(await tokenizer.encode(train.images)), labels: train.labels },
            { features: meanPool(await tokenizer.encode(test.images)), labels: test.labels },
            classes.length,
          ),
  };
}

interface Labelled {
  readonly features: NdArray<"float32">;
  readonly labels: Int32Array;
}

function probe(train: Labelled, test: Labelled, classes: number): number {
  const fitted = fitLinearProbe(train.features, train.labels, { classes, l2: 1e-2 });
  return computeAccuracy(fitted.predict(test.features), test.labels);
}

/** The mean patch token of the encoder of a tokenizer, whatever its patch size: what distances are computed on. */
export function createExtractor(tokenizer: AlignedTokenizer, name: string): FeatureExtractor {
  return {
    name: `${name}, mean patch token`,
    width: tokenizer.config.encoder.width,
    extract: async (images) => meanPool(await tokenizer.features(images)),
  };
}

/** PSNR of held-out photographs after the tokenizer, dB. */
export async function measurePsnr(tokenizer: Tokenizer, images: Images): Promise<number> {
  return computePsnr(images, await tokenizer.decode(await tokenizer.encode(images))).mean;
}

export async function statisticsOf(
  images: Images,
  extractor: FeatureExtractor,
): Promise<FeatureStatistics> {
  return computeFeatureStatistics([images], extractor);
}

/** The images whose class is to be generated. */
export function learnable({ images, labels }: LabelledImages): LabelledImages {
  const kept = [...labels.keys()].filter((i) => labels[i]! >= 0);
  return { images: take(images, kept), labels: Int32Array.from(kept, (i) => labels[i]!) };
}
