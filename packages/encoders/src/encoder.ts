/** Encoders that run: a configuration and its weights, compiled for each size of images that arrives. */
import {
  checkBatchSize,
  type Encoder,
  type Images,
  type NdArray,
  type Parameters,
  type Random,
} from "@aligntok/core";
import type { ImageInput } from "@aligntok/image";
import type { EngineOptions, Precision } from "@aligntok/jit";
import { type FeatureStream, type FeatureStreamOptions, streamFeatures } from "./feature-stream.ts";
import { createFeatureComputer, type FeaturesOptions } from "./features.ts";
import { checkPrecision } from "./precision.ts";
import { initViT, prefixTokens, type ViTConfig } from "./vit.ts";

export interface EncoderOptions extends EngineOptions {
  /**
   * `int8` is faster on processors with VNNI (ViT-S/14, 8 images: 162 ms instead of 300), and features differ by some
   * percent: see `compareFeatures`. ONNX Runtime only. @default "float32"
   */
  readonly precision?: Precision;
  /** Images that go through the network at once; more are cut into batches. @default 8 */
  readonly batchSize?: number;
}

/** An `Encoder` of core whose configuration and weights can be taken out, to be trained further. */
export interface VisionEncoder extends Encoder {
  readonly config: ViTConfig;
  /** Under the names of `vitShapes`, position embeddings as stored. */
  readonly parameters: Parameters;
  /**
   * Features of images (N, H, W, 3) uint8, any number of any multiple of the patch size; or of the model's own size
   * (`config.imageSize`, `config.transform`) where that is none, of which the pixels at the right and at the bottom
   * that fill no patch are dropped.
   *
   * @throws AlignTokError `bad-input` for other images, layers that do not exist, and pooling that the model has no
   * tokens for; `aborted` when `signal` fires
   */
  features(
    images: Images,
    options: FeaturesOptions & { readonly layer: readonly number[] },
  ): Promise<NdArray<"float32">[]>;
  features(
    images: Images,
    options?: FeaturesOptions & { readonly layer?: number },
  ): Promise<NdArray<"float32">>;
  /**
   * Features of any number of images, in order: paths, bytes, records of a data set or decoded images, decoded in
   * worker threads while the network computes. Images that cannot be decoded raise, or with `onError: "skip"` are left
   * out and counted.
   *
   * ```ts
   * for await (const { keys, features } of encoder.featuresOf(paths, { pool: "cls" })) console.log(keys, features);
   * ```
   */
  featuresOf(
    source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options: FeatureStreamOptions & { readonly layer: readonly number[] },
  ): FeatureStream<NdArray<"float32">[]>;
  featuresOf(
    source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options?: FeatureStreamOptions & { readonly layer?: number },
  ): FeatureStream<NdArray<"float32">>;
}

/** An encoder with random weights (`initViT`), for tests and for training from scratch. */
export function createEncoder(
  config: ViTConfig,
  random: Random,
  options: EncoderOptions = {},
): VisionEncoder {
  return bindEncoder(config, initViT(config, random), options);
}

/** An encoder of the given weights, which must be those that `vitShapes(config)` lists. */
export function bindEncoder(
  config: ViTConfig,
  parameters: Parameters,
  { batchSize = 8, ...engine }: EncoderOptions = {},
): VisionEncoder {
  checkBatchSize(batchSize);
  checkPrecision(engine.precision);
  const { patchSize, width } = config;
  const { compute, dispose } = createFeatureComputer(config, parameters, { ...engine, batchSize });

  async function features(images: Images, options: FeaturesOptions = {}): Promise<never> {
    const results = await compute(images, options);
    return (Array.isArray(options.layer) ? results : results[0]) as never; // as the overloads say
  }

  const encoder: VisionEncoder = {
    config,
    parameters,
    patchSize,
    width,
    prefixTokens: prefixTokens(config),
    features,
    featuresOf: (
      source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
      options: FeatureStreamOptions = {},
    ) => streamFeatures<never>(encoder, batchSize, source, options),
    dispose,
  };
  return encoder;
}
