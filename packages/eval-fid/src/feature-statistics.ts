/** From images to the statistics that a Fréchet distance compares, one batch in memory at a time. */
import {
  AlignTokError,
  check,
  type Encoder,
  type FeatureExtractor,
  type ImageBatch,
  type Images,
  type NdArray,
  type OnProgress,
  sizeOf,
  zeros,
} from "@aligntok/core";
import type { FeatureStatistics } from "./frechet-distance.ts";
import { createMoments, type Moments } from "./moments.ts";

/** Image batches: `(N, H, W, 3)` uint8, alone or as an ImageSource's batches. */
export type ImageStream = AsyncIterable<Images | ImageBatch> | Iterable<Images | ImageBatch>;

export interface FeatureStatisticsOptions {
  /** Stops between batches with AlignTokError `aborted`. @default never */
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of images so far. @default none */
  readonly onProgress?: OnProgress;
}

/**
 * Extracts features of every image and accumulates their mean and covariance.
 *
 * How the images are cut into batches does not change the result, as long as it does not change the features.
 *
 * @throws AlignTokError `bad-input` for fewer than 2 images or features that are not finite, `aborted` by the signal.
 */
export async function computeFeatureStatistics(
  source: ImageStream,
  extractor: FeatureExtractor,
  options: FeatureStatisticsOptions = {},
): Promise<FeatureStatistics> {
  const { signal, onProgress } = options;
  const moments = createMoments(extractor.width);
  throwIfAborted(signal);
  for await (const batch of source) {
    const images = "images" in batch ? batch.images : batch;
    const features = await extractor.extract(images);
    check(
      features.shape[0] === images.shape[0],
      () =>
        `${extractor.name}: expected ${images.shape[0]} feature vectors, got [${features.shape}]`,
    );
    moments.add(features);
    onProgress?.({ task: `${extractor.name} features`, done: moments.count });
    throwIfAborted(signal);
  }
  return createFeatureStatistics(moments, extractor.name);
}

/** Labels accumulated moments by the extractor of the features. @throws AlignTokError `bad-input` for fewer than 2 samples. */
export function createFeatureStatistics(moments: Moments, extractor: string): FeatureStatistics {
  return {
    extractor,
    count: moments.count,
    mean: moments.mean(),
    covariance: moments.covariance(),
  };
}

export interface EncoderExtractorOptions {
  /** Label of every number that comes of it; the pooling is appended: `vit-tiny/mean`. */
  readonly name: string;
  /** `mean` of the patch tokens, or the class token (the first). @default "mean" */
  readonly pool?: "mean" | "cls";
}

/**
 * Makes a vision encoder a feature extractor by pooling its tokens.
 *
 * @throws AlignTokError `bad-input` for pool `cls` on an encoder without prefix tokens.
 */
export function createEncoderExtractor(
  encoder: Encoder,
  options: EncoderExtractorOptions,
): FeatureExtractor {
  const { name, pool = "mean" } = options;
  const prefix = encoder.prefixTokens;
  check(
    pool === "mean" || prefix > 0,
    `${name}: expected an encoder with a class token for pool cls, got one without. use pool mean`,
  );
  return {
    name: `${name}/${pool}`,
    width: encoder.width,
    async extract(images) {
      const tokens = await encoder.features(images);
      return meanPool(tokens, pool === "mean" ? { start: prefix } : { end: 1 });
    },
  };
}

export interface MeanPoolOptions {
  /** First position that counts, such as an encoder's `prefixTokens`. @default 0 */
  readonly start?: number;
  /** Position after the last that counts. @default all positions */
  readonly end?: number;
}

/**
 * Mean over positions of tokens `(N, T, D)` or latents `(N, h, w, D)`: `(N, D)`.
 *
 * @throws AlignTokError `bad-input` where there is no position from `start` to before `end`
 */
export function meanPool(
  array: NdArray<"float32">,
  options: MeanPoolOptions = {},
): NdArray<"float32"> {
  const count = array.shape[0] ?? 0;
  const width = array.shape.at(-1) ?? 0;
  const positions = sizeOf(array.shape.slice(1, -1));
  const { start = 0, end = positions } = options;
  check(
    array.shape.length >= 2 && start >= 0 && start < end && end <= positions,
    () =>
      `mean pool: expected [N,...,D] with positions ${start} to ${end}, got [${array.shape}]. choose positions that it has`,
  );
  const out = zeros([count, width]);
  const sum = new Float64Array(width);
  for (let n = 0; n < count; n++) {
    sum.fill(0);
    for (let t = start; t < end; t++) {
      const offset = (n * positions + t) * width;
      for (let i = 0; i < width; i++) sum[i]! += array.data[offset + i]!;
    }
    for (let i = 0; i < width; i++) out.data[n * width + i] = sum[i]! / (end - start);
  }
  return out;
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new AlignTokError("aborted", "feature statistics: aborted by the caller", {
      cause: signal.reason,
    });
  }
}
