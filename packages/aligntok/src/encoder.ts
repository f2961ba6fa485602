/**
 * The encoder inside a tokenizer's graph: images as the decoder makes them, to patch tokens.
 *
 * N images, H x W pixels, f the tokenizer's stride, p the encoder's patch, T = H/f * W/f tokens, D width.
 */
import { check, heightAndWidth, type Parameters, type PixelSize } from "@aligntok/core";
import {
  applyViT,
  applyViTLayers,
  normalize,
  patchGrid,
  resamplePositions,
  type ViTConfig,
} from "@aligntok/encoders";
import type { TensorParameters } from "@aligntok/nn";
import { add, mul, scalar, slice, type Tensor } from "@tensorflow/tfjs-core";
import { featureDistance, type Perceptual } from "./losses.ts";
import { type Interpolation, resize } from "./resize.ts";

/** The parameters under a prefix, without it: `encoder.norm.weight` becomes `norm.weight`. */
export function withoutPrefix<T>(
  params: Readonly<Record<string, T>>,
  prefix: string,
): Record<string, T> {
  return Object.fromEntries(
    Object.entries(params)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );
}

export function withPrefix<T>(
  params: Readonly<Record<string, T>>,
  prefix: string,
): Record<string, T> {
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [prefix + name, value]));
}

/** @throws AlignTokError `bad-input` unless both sides are multiples of the stride */
export function tokenGrid(
  imageSize: PixelSize,
  stride: number,
): readonly [rows: number, columns: number] {
  const [height, width] = heightAndWidth(imageSize);
  check(
    height > 0 && width > 0 && height % stride === 0 && width % stride === 0,
    () =>
      `imageSize: expected multiples of the stride ${stride}, got ${height}x${width}. ${nearest(height, stride)}x${nearest(width, stride)} fits; in a configuration it is data.size`,
  );
  return [height / stride, width / stride];
}

/** The multiple of the stride that is nearest to a side, at least one. */
function nearest(side: number, stride: number): number {
  return Math.max(1, Math.round(side / stride)) * stride;
}

export interface ApplyEncoderOptions {
  /** Pixels of the image per patch, along each side. */
  readonly stride: number;
  /** How images are resized where patch and stride differ. @default "bilinear" */
  readonly interpolation?: Interpolation;
  /** Computes the values inside each block again for its gradient, in place of keeping them. @default false */
  readonly recompute?: boolean;
}

/**
 * Patch tokens `(N, T, D)` after the final normalisation, of images `(N, 3, H, W)` in [-1, 1].
 * Where patch and stride differ (14 and 16), images are first resized by their ratio: bilinearly as VA-VAE does for its
 * DINOv2, or bicubically as REPA and RAE do.
 *
 * @param params the encoder's weights under `encoder.`, with position embeddings for this grid
 */
export function applyEncoder(
  config: ViTConfig,
  params: TensorParameters,
  images: Tensor,
  { stride, interpolation = "bilinear", recompute = false }: ApplyEncoderOptions,
): Tensor {
  const [n, , height, width] = images.shape as [number, number, number, number];
  const tokens = applyViT(
    config,
    withoutPrefix(params, "encoder."),
    normalize(config, toUnitRange(toPatches(config, images, { stride, interpolation }))),
    { recompute },
  ); // (N, 1+R+T, D)
  const count = (height / stride) * (width / stride);
  return slice(tokens, [0, tokens.shape[1]! - count, 0], [n, count, config.width]);
}

function toPatches(
  { patchSize }: ViTConfig,
  images: Tensor,
  { stride, interpolation = "bilinear" }: ApplyEncoderOptions,
): Tensor {
  const [, , height, width] = images.shape as [number, number, number, number];
  check(
    height % stride === 0 && width % stride === 0,
    () =>
      `image size: expected multiples of ${stride}, got ${height}x${width}. resize or crop first`,
  );
  return resize(images, {
    height: (height / stride) * patchSize,
    width: (width / stride) * patchSize,
    interpolation,
  });
}

function toUnitRange(images: Tensor): Tensor {
  return add(mul(images, scalar(0.5)), scalar(0.5));
}

export interface FeaturePerceptualOptions {
  /** Of the training images. @default what the encoder's position embeddings are for */
  readonly imageSize?: PixelSize;
  /** Pixels of the image per patch, along each side. @default the encoder's patch size */
  readonly stride?: number;
  /** Blocks whose outputs are compared, counted from 0. @default those at a quarter, a half and three quarters of the depth */
  readonly layers?: readonly number[];
}

/** Frozen features of an encoder as the perceptual term, for where no LPIPS weights are at hand. */
export function createFeaturePerceptual(
  encoder: { readonly config: ViTConfig; readonly parameters: Parameters },
  options: FeaturePerceptualOptions = {},
): Perceptual {
  const { config } = encoder;
  const { stride = config.patchSize, layers = spread(config.depth) } = options;
  const { imageSize } = options;
  const grid = imageSize === undefined ? patchGrid(config) : tokenGrid(imageSize, stride);
  const featuresOf = (params: TensorParameters, images: Tensor) => {
    const x = normalize(config, toUnitRange(toPatches(config, images, { stride })));
    return applyViTLayers(config, params, x, layers);
  };
  return {
    name: `features of blocks ${layers.join(", ")} of a ViT ${config.width}x${config.depth}`,
    parameters: upToBlock(resamplePositions(config, encoder.parameters, grid), Math.max(...layers)),
    distance: (params, x, y) => featureDistance(featuresOf(params, x), featuresOf(params, y)),
  };
}

function spread(depth: number): number[] {
  return [...new Set([0.25, 0.5, 0.75].map((part) => Math.floor(part * depth)))];
}

/** The weights that blocks 0 to `last` need. */
function upToBlock(parameters: Parameters, last: number): Parameters {
  return Object.fromEntries(
    Object.entries(parameters).filter(([name]) => {
      const block = /^blocks\.(\d+)\./.exec(name)?.[1];
      return block ? Number(block) <= last : !/^(norm|head|projection|attn_pool)\./.test(name);
    }),
  );
}
