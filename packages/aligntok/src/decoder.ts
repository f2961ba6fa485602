/**
 * The convolutional decoder: latents to an image.
 *
 * Paper: Rombach et al. 2022 (LDM), as used by VA-VAE (Yao et al. 2025) and AlignTok. Upstream:
 * hustvl/LightningDiT at 2725fed, `tokenizer/autoencoder.py`. Difference: `pixelShuffle`, which is 1 upstream.
 * Keys: `post_quant_conv.*`, `decoder.*`, as upstream.
 *
 * N images, d channels of the latent, h x w its size, C channels of a level.
 */
import { check, type Parameters, type Random, rows } from "@aligntok/core";
import { checkpoint } from "@aligntok/jit";
import {
  conv2d,
  groupNorm,
  pixelShuffle,
  type TensorParameters,
  upsampleConv2d,
} from "@aligntok/nn";
import type { Tensor } from "@tensorflow/tfjs-core";
import {
  attentionBlock,
  createShapeList,
  initConvolutional,
  middleBlocks,
  residualBlock,
  type Shapes,
} from "./blocks.ts";

export interface DecoderConfig {
  /** Channels d of the latent. */
  readonly latent: number;
  /** Channels of the last level, the one of the highest resolution. */
  readonly channels: number;
  /** Channels of each level as multiples of `channels`, highest resolution first; one level fewer upsamplings. */
  readonly multipliers: readonly number[];
  /** Residual blocks of a level, less one: upstream's decoder has `blocks + 1` of them. */
  readonly blocks: number;
  /** Levels whose blocks are followed by attention, as indices into `multipliers`. @default none */
  readonly attention?: readonly number[];
  /** Groups of every normalisation. @default 32 */
  readonly groups?: number;
  /** Whether a 1x1 convolution mixes the channels of the latent first; FLUX's autoencoder has none. @default true */
  readonly postQuantConv?: boolean;
  /** Works at 1/r of the resolution and ends in a pixel shuffle by r: cheap small decoders. @default 1 */
  readonly pixelShuffle?: number;
}

/**
 * Configurations by name, all for f = 16. `f16d32` is VA-VAE's and the paper's ("about 42M": 41.418 million weights
 * under `decoder.`), `f16d64` its variant of 64 channels (41.565). `f16d32Wide` stands for an ablation of the paper of
 * which the size alone is known, 351 million: that every level is some 2.9 times as wide as in `f16d32`, rounded to the 32
 * groups of its normalisations, is our choice (351.124). `small` (8.2) and `tiny` (2.5) are ours.
 */
export const decoderSizes = {
  f16d32: {
    latent: 32,
    channels: 128,
    multipliers: [1, 1, 2, 2, 4],
    blocks: 2,
    attention: [4],
  },
  f16d64: {
    latent: 64,
    channels: 128,
    multipliers: [1, 1, 2, 2, 4],
    blocks: 2,
    attention: [4],
  },
  f16d32Wide: {
    latent: 32,
    channels: 32,
    multipliers: [11, 11, 23, 23, 47],
    blocks: 2,
    attention: [4],
  },
  small: {
    latent: 32,
    channels: 64,
    multipliers: [1, 1, 2, 2, 4],
    blocks: 1,
    attention: [4],
  },
  /** A quarter of the resolution and a pixel shuffle by 4: trains in minutes on two processor cores. */
  tiny: {
    latent: 32,
    channels: 64,
    multipliers: [1, 2, 2],
    blocks: 1,
    attention: [2],
    pixelShuffle: 4,
  },
} as const satisfies Record<string, DecoderConfig>;

/** Pixels of the image per latent position, along each side. */
export function decoderStride({ multipliers, pixelShuffle = 1 }: DecoderConfig): number {
  return 2 ** (multipliers.length - 1) * pixelShuffle;
}

/**
 * Name and shape of every weight, in upstream's order of construction.
 *
 * @throws AlignTokError `bad-input` when the groups do not divide the channels, or for attention at a level that is not there
 */
export function decoderShapes(config: DecoderConfig): Shapes {
  const { latent, channels, multipliers, blocks, attention = [] } = config;
  checkGroups(config);
  checkAttention(config);
  const { shapes, layer, conv, residual, attend, middle } = createShapeList();
  if (config.postQuantConv !== false) conv("post_quant_conv", latent, latent, 1);
  let width = channels * multipliers.at(-1)!;
  conv("decoder.conv_in", latent, width, 3);
  middle("decoder.mid", width);
  for (let level = multipliers.length - 1; level >= 0; level--) {
    const output = channels * multipliers[level]!;
    for (let block = 0; block <= blocks; block++) {
      residual(`decoder.up.${level}.block.${block}`, width, output);
      width = output;
      if (attention.includes(level)) attend(`decoder.up.${level}.attn.${block}`, width);
    }
    if (level > 0) conv(`decoder.up.${level}.upsample.conv`, width, width, 3);
  }
  layer("decoder.norm_out", [width]);
  conv("decoder.conv_out", width, 3 * (config.pixelShuffle ?? 1) ** 2, 3);
  return shapes;
}

/** First parts of the names of the weights: `decoder`, and `post_quant_conv` where there is one. */
export function decoderParts(config: DecoderConfig): readonly string[] {
  return [...new Set(Object.keys(decoderShapes(config)).map((name) => name.split(".")[0]!))];
}

function checkGroups({ channels, multipliers, groups = 32 }: DecoderConfig): void {
  for (const multiplier of multipliers) {
    check(
      (channels * multiplier) % groups === 0,
      () =>
        `decoder channels: expected multiples of ${groups} groups, got ${channels * multiplier}. choose other channels, multipliers or groups`,
    );
  }
}

function checkAttention({ multipliers, attention = [] }: DecoderConfig): void {
  const last = multipliers.length - 1;
  for (const level of attention) {
    check(
      Number.isInteger(level) && level >= 0 && level <= last,
      () =>
        `decoder attention: expected levels from 0 to ${last}, highest resolution first, got ${level}. choose among the ${last + 1} levels of multipliers`,
    );
  }
}

/** Weights as PyTorch's Conv2d and GroupNorm start; a pixel shuffle starts without a checkerboard. */
export function initDecoder(config: DecoderConfig, random: Random): Parameters {
  const params = initConvolutional(decoderShapes(config), random);
  for (const part of ["weight", "bias"]) {
    repeatFirst(params[`decoder.conv_out.${part}`]!, (config.pixelShuffle ?? 1) ** 2);
  }
  return params;
}

/** Makes every row of a group equal to its first: all pixels of a shuffled block begin alike (ICNR, Aitken et al. 2017). */
function repeatFirst(array: Parameters[string], group: number): void {
  const count = array.shape[0]!;
  for (let row = 0; row < count; row++) {
    const first = row - (row % group);
    rows(array, row, row + 1).data.set(rows(array, first, first + 1).data);
  }
}

/** Latents `(N, d, h, w)` to images `(N, 3, H, W)`, nominally in [-1, 1] but not clipped. */
export function applyDecoder(
  config: DecoderConfig,
  params: TensorParameters,
  latents: Tensor,
): Tensor {
  return applyDecoderHead(config, params, applyDecoderBody(config, params, latents));
}

/** All but the last convolution, whose weight the adaptive GAN weight is computed on: `(N, C, H/r, W/r)`. */
export function applyDecoderBody(
  config: DecoderConfig,
  params: TensorParameters,
  latents: Tensor,
  {
    recompute = false,
  }: {
    /** Computes the values inside each block again for its gradient, in place of keeping them. @default false */
    readonly recompute?: boolean;
  } = {},
): Tensor {
  const { multipliers, blocks, attention = [], groups = 32 } = config;
  const [residual, attend, upsample] = recompute
    ? [checkpoint(residualBlock), checkpoint(attentionBlock), checkpoint(upsampleConv2d)]
    : [residualBlock, attentionBlock, upsampleConv2d];
  let x = config.postQuantConv === false ? latents : conv2d(params, "post_quant_conv", latents); // (N, d, h, w)
  x = conv2d(params, "decoder.conv_in", x, { padding: 1 }); // (N, C, h, w)
  x = middleBlocks(params, "decoder.mid", x, groups);
  for (let level = multipliers.length - 1; level >= 0; level--) {
    for (let block = 0; block <= blocks; block++) {
      x = residual(params, `decoder.up.${level}.block.${block}`, x, groups);
      if (attention.includes(level)) {
        x = attend(params, `decoder.up.${level}.attn.${block}`, x, groups);
      }
    }
    if (level > 0) {
      x = upsample(params, `decoder.up.${level}.upsample.conv`, x);
    }
  }
  return groupNorm(params, "decoder.norm_out", x, { groups, silu: true });
}

/** The last convolution and the pixel shuffle: `(N, C, H/r, W/r)` to `(N, 3, H, W)`. */
export function applyDecoderHead(
  { pixelShuffle: factor = 1 }: DecoderConfig,
  params: TensorParameters,
  hidden: Tensor,
): Tensor {
  const x = conv2d(params, "decoder.conv_out", hidden, { padding: 1 }); // (N, 3*r*r, H/r, W/r)
  return factor === 1 ? x : pixelShuffle(x, factor);
}
