/** Features of any number of images: decoding runs in worker threads beside the network, and memory stays bounded. */
import { AlignTokError, check, type NdArray, rows } from "@aligntok/core";
import {
  type DecodeStreamOptions,
  decodeImages,
  type Image,
  type ImageInput,
  stackImages,
} from "@aligntok/image";
import type { VisionEncoder } from "./encoder.ts";
import { checkSize, type FeaturesOptions } from "./features.ts";

export interface FeatureStreamOptions extends FeaturesOptions, DecodeStreamOptions {
  /**
   * What is done to each image after decoding; `{}` leaves images as they are. Images of another size than the one
   * before begin a new batch, so give a crop, or sort by size.
   * @default the model's own, `encoder.config.transform`
   */
  readonly transform?: NonNullable<DecodeStreamOptions["transform"]>;
}

/** Features of consecutive images. */
export interface FeatureBatch<F> {
  readonly keys: readonly string[];
  /** Places of the images in the source, counted from 0; images that were left out are missing. */
  readonly indices: readonly number[];
  /** A row for each key; of a list of layers, an array for each. */
  readonly features: F;
}

export interface FeatureStream<F> extends AsyncGenerator<FeatureBatch<F>, void, undefined> {
  /** Images left out so far, by error code. */
  skipped(): Readonly<Record<string, number>>;
}

interface Item {
  readonly key: string;
  readonly index: number;
  readonly image: Image;
}

/** `F` is what `features` of the encoder gives for these options. */
export function streamFeatures<F>(
  encoder: VisionEncoder,
  batchSize: number,
  source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: FeatureStreamOptions,
): FeatureStream<F> {
  const { layer, pool, norm, onSkip, onError = "raise", signal, ...decoding } = options;
  const { transform = encoder.config.transform, ahead = 2 * batchSize } = options;
  const counts: Record<string, number> = {};

  function skip(key: string, index: number, error: AlignTokError): void {
    counts[error.code] = (counts[error.code] ?? 0) + 1;
    onSkip?.({ key, index, error });
  }

  /** Images that the network can take. */
  async function* fittingImages(): AsyncGenerator<Item, void, undefined> {
    const images = decodeImages(source, {
      ...decoding,
      transform,
      ahead,
      onError,
      onSkip: ({ key, index, error }) => skip(key, index, error),
      ...(signal && { signal }),
    });
    for await (const item of images) {
      const [height = 0, width = 0] = item.image.shape;
      const misfit = sizeError(encoder, item.key, height, width);
      if (!misfit) yield item;
      else if (onError === "skip") skip(item.key, item.index, misfit);
      else throw misfit;
    }
  }

  async function featuresOfBatch(batch: readonly Item[], whole: boolean) {
    // A last batch is filled up with its last image: another graph would take longer to compile than the rest to run.
    const filled = Array.from(
      { length: whole ? batchSize : batch.length },
      (_, i) => batch[i] ?? batch.at(-1)!,
    );
    const features = await encoder.features(stackImages(filled.map(({ image }) => image)), {
      ...(pool && { pool }),
      ...(norm !== undefined && { norm }),
      ...(layer !== undefined && { layer }),
      ...(signal && { signal }),
    } as FeaturesOptions & { layer: readonly number[] });
    const cut = (array: NdArray<"float32">) => rows(array, 0, batch.length);
    return {
      keys: batch.map(({ key }) => key),
      indices: batch.map(({ index }) => index),
      features: (Array.isArray(features) ? features.map(cut) : cut(features)) as F,
    };
  }

  async function* batches(): AsyncGenerator<FeatureBatch<F>, void, undefined> {
    let batch: Item[] = [];
    let lastFull = ""; // size of the images whose full batches have a graph already
    const sizeOf = ({ image }: Item) => image.shape.join();
    for await (const item of fittingImages()) {
      if (batch.length > 0 && sizeOf(batch[0]!) !== sizeOf(item)) {
        yield await featuresOfBatch(batch, lastFull === sizeOf(batch[0]!));
        batch = [];
      }
      batch.push(item);
      if (batch.length < batchSize) continue;
      lastFull = sizeOf(item);
      yield await featuresOfBatch(batch, true);
      batch = [];
    }
    if (batch.length > 0) yield await featuresOfBatch(batch, lastFull === sizeOf(batch[0]!));
  }

  return Object.assign(batches(), { skipped: () => ({ ...counts }) });
}

function sizeError(
  { config }: VisionEncoder,
  key: string,
  height: number,
  width: number,
): AlignTokError | undefined {
  try {
    checkSize(config, height, width);
    return undefined;
  } catch (error) {
    check(AlignTokError.isInstance(error), () => String(error));
    return new AlignTokError(error.code, `${key}: ${error.message}`, { cause: error });
  }
}
