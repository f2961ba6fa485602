/**
 * The variational autoencoder of latent diffusion: what VA-VAE, Stable Diffusion and FLUX encode and decode with.
 *
 * Paper: Rombach et al. 2022 (LDM, appendix G). Upstream: CompVis/latent-diffusion at a506df5, hustvl/LightningDiT at
 * 2725fed (`tokenizer/autoencoder.py`), black-forest-labs/flux at 802fb47 (`modules/autoencoder.py`); no differences.
 * Keys: `encoder.*`, `quant_conv.*`, `post_quant_conv.*`, `decoder.*`, as upstream.
 *
 * N images, H x W pixels, d channels of the latent, h x w its size, C channels of a level.
 */
import type { Parameters, Random } from "@aligntok/core";
import { conv2d, groupNorm, type TensorParameters } from "@aligntok/nn";
import { reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";
import {
  attentionBlock,
  createShapeList,
  initConvolutional,
  middleBlocks,
  residualBlock,
  type Shapes,
} from "../blocks.ts";
import {
  applyDecoder,
  type DecoderConfig,
  decoderShapes,
  decoderStride,
  initDecoder,
} from "../decoder.ts";
import { type Posterior, posteriorOf } from "../posterior.ts";

/**
 * Sizes as those of its decoder; the encoder has `blocks` residual blocks a level, and starts where the decoder ends with
 * a pixel shuffle from the pixels unshuffled.
 */
export interface AutoencoderConfig
  extends Pick<
    DecoderConfig,
    "latent" | "channels" | "multipliers" | "blocks" | "attention" | "groups" | "pixelShuffle"
  > {
  /** Whether 1x1 convolutions lie between the networks and the latents. @default true */
  readonly quantConvs?: boolean;
  /**
   * What diffusion models multiply latents by, after taking away `shift`.
   * @default none: statistics of each channel take its place
   */
  readonly scale?: number;
  /** @default 0 */
  readonly shift?: number;
}

const f16 = { channels: 128, multipliers: [1, 1, 2, 2, 4], blocks: 2, attention: [4] } as const;
const f8 = { channels: 128, multipliers: [1, 2, 4, 4], blocks: 2 } as const;

/**
 * Published autoencoders. `f16d32` and `f16d64` are VA-VAE's, and the plain LDM's ("Vanilla VAE") that it is compared
 * with. Names and shapes do not tell `sd-vae` from `sdxl-vae`, nor `flux-ae` from `sd3-vae`: only their scales differ.
 */
export const autoencoderModels = {
  f16d32: { ...f16, latent: 32 },
  f16d64: { ...f16, latent: 64 },
  "sd-vae": { ...f8, latent: 4, scale: 0.18215 },
  "sdxl-vae": { ...f8, latent: 4, scale: 0.13025 },
  "flux-ae": { ...f8, latent: 16, quantConvs: false, scale: 0.3611, shift: 0.1159 },
  "sd3-vae": { ...f8, latent: 16, quantConvs: false, scale: 1.5305, shift: 0.0609 },
} as const satisfies Record<string, AutoencoderConfig>;

export type AutoencoderModel = keyof typeof autoencoderModels;

/** Pixels of the image per latent position, along each side. */
export function autoencoderStride(config: AutoencoderConfig): number {
  return decoderStride(autoencoderDecoder(config));
}

/** The decoder of an autoencoder. */
export function autoencoderDecoder({
  quantConvs = true,
  ...config
}: AutoencoderConfig): DecoderConfig {
  return { ...config, postQuantConv: quantConvs };
}

/**
 * Name and shape of every weight.
 *
 * @throws AlignTokError `bad-input` as of `decoderShapes`
 */
export function autoencoderShapes(config: AutoencoderConfig): Shapes {
  return { ...encoderShapes(config), ...decoderShapes(autoencoderDecoder(config)) };
}

function encoderShapes(config: AutoencoderConfig): Shapes {
  const { latent, channels, multipliers, blocks, attention = [], quantConvs = true } = config;
  const { shapes, layer, conv, residual, attend, middle } = createShapeList();
  conv("encoder.conv_in", 3 * (config.pixelShuffle ?? 1) ** 2, channels, 3);
  let width = channels;
  for (const [level, multiplier] of multipliers.entries()) {
    for (let block = 0; block < blocks; block++) {
      residual(`encoder.down.${level}.block.${block}`, width, channels * multiplier);
      width = channels * multiplier;
      if (attention.includes(level)) attend(`encoder.down.${level}.attn.${block}`, width);
    }
    if (level < multipliers.length - 1)
      conv(`encoder.down.${level}.downsample.conv`, width, width, 3);
  }
  middle("encoder.mid", width);
  layer("encoder.norm_out", [width]);
  conv("encoder.conv_out", width, 2 * latent, 3);
  if (quantConvs) conv("quant_conv", 2 * latent, 2 * latent, 1);
  return shapes;
}

/** Weights as PyTorch's Conv2d and GroupNorm start. */
export function initAutoencoder(config: AutoencoderConfig, random: Random): Parameters {
  return {
    ...initConvolutional(encoderShapes(config), random),
    ...initDecoder(autoencoderDecoder(config), random),
  };
}

/** The distribution of the latents `(N, d, h, w)` of images `(N, 3, H, W)` in [-1, 1]. */
export function encodePosterior(
  config: AutoencoderConfig,
  params: TensorParameters,
  images: Tensor,
): Posterior {
  const { multipliers, blocks, attention = [], groups = 32, quantConvs = true } = config;
  let x = unshuffle(images, config.pixelShuffle ?? 1); // (N, 3*r*r, H/r, W/r)
  x = conv2d(params, "encoder.conv_in", x, { padding: 1 }); // (N, C, H/r, W/r)
  for (const level of multipliers.keys()) {
    for (let block = 0; block < blocks; block++) {
      x = residualBlock(params, `encoder.down.${level}.block.${block}`, x, groups);
      if (attention.includes(level)) {
        x = attentionBlock(params, `encoder.down.${level}.attn.${block}`, x, groups);
      }
    }
    if (level < multipliers.length - 1) {
      const below = { stride: 2, padding: [0, 0, 1, 1] } as const; // zeros at the bottom and right only
      x = conv2d(params, `encoder.down.${level}.downsample.conv`, x, below); // (N, C, H/2, W/2)
    }
  }
  x = middleBlocks(params, "encoder.mid", x, groups);
  x = groupNorm(params, "encoder.norm_out", x, { groups, silu: true });
  x = conv2d(params, "encoder.conv_out", x, { padding: 1 }); // (N, 2d, h, w)
  if (quantConvs) x = conv2d(params, "quant_conv", x);
  return posteriorOf(x);
}

/** Blocks of r x r pixels to channels, the inverse of a pixel shuffle: `(N, C, H, W)` to `(N, C*r*r, H/r, W/r)`. */
function unshuffle(images: Tensor, r: number): Tensor {
  if (r === 1) return images;
  const [n, c, height, width] = images.shape as [number, number, number, number];
  const [h, w] = [height / r, width / r];
  const blocks = transpose(reshape(images, [n, c, h, r, w, r]), [0, 1, 3, 5, 2, 4]);
  return reshape(blocks, [n, c * r * r, h, w]);
}

/** Latents `(N, d, h, w)`, neither shifted nor scaled, to images `(N, 3, H, W)`, nominally in [-1, 1]. */
export function applyAutoencoderDecoder(
  config: AutoencoderConfig,
  params: TensorParameters,
  latents: Tensor,
): Tensor {
  return applyDecoder(autoencoderDecoder(config), params, latents);
}
