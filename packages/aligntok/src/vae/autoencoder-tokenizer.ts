/** An autoencoder that runs: images to latents and back, compiled for each size that arrives. */
import {
  type Images,
  type LatentStats,
  type NdArray,
  type Parameters,
  type Random,
  type Tokenizer,
  zeros,
} from "@aligntok/core";
import { selectParameters } from "@aligntok/train";
import { concat, transpose } from "@tensorflow/tfjs-core";
import { createNetworkTokenizer } from "../network-tokenizer.ts";
import type { RowFunctionOptions } from "../row-function.ts";
import {
  type AutoencoderConfig,
  applyAutoencoderDecoder,
  autoencoderStride,
  encodePosterior,
} from "./autoencoder.ts";

/** A configuration with its weights, under the names of `autoencoderShapes`. */
export interface AutoencoderWeights {
  readonly config: AutoencoderConfig;
  readonly parameters: Parameters;
  /** Of each latent channel. @default what `scale` and `shift` of the configuration say */
  readonly stats?: LatentStats | undefined;
}

export interface EncodeOptions {
  /** Draws the latents from their distribution, as in training and in the latents that diffusion learns. @default their mean */
  readonly sample?: Random;
}

/** A `Tokenizer` of core whose latents are those of the file: `stats` holds the shift and scale that diffusion expects. */
export interface Autoencoder extends Tokenizer {
  readonly config: AutoencoderConfig;
  readonly parameters: Parameters;
  encode(images: Images, options?: EncodeOptions): Promise<NdArray<"float32">>;
}

/** Binds weights to graphs, which are compiled at the first batch of each shape. */
export function createAutoencoder(
  { config, parameters, stats = statsOf(config) }: AutoencoderWeights,
  options: RowFunctionOptions = {},
): Autoencoder {
  const { latent, quantConvs = true } = config;
  const tokenizer = createNetworkTokenizer(
    {
      stride: autoencoderStride(config),
      latent,
      encoded: 2 * latent,
      encode(params, images) {
        const { mean, logVariance } = encodePosterior(config, params, images);
        return transpose(concat([mean, logVariance], 1), [0, 2, 3, 1]); // (N, h, w, 2d)
      },
      decode: (params, latents) => applyAutoencoderDecoder(config, params, latents),
      encoderWeights: selectParameters(parameters, [
        "encoder",
        ...(quantConvs ? ["quant_conv"] : []),
      ]),
      decoderWeights: selectParameters(parameters, [
        ...(quantConvs ? ["post_quant_conv"] : []),
        "decoder",
      ]),
      stats,
    },
    options,
  );
  return {
    ...tokenizer,
    config,
    parameters,
    async encode(images, { sample } = {}) {
      return latentsOf(await tokenizer.encode(images), latent, sample);
    },
  };
}

/** `(N, h, w, 2d)` means and logarithms of variances to `(N, h, w, d)` latents. */
function latentsOf(
  { data, shape }: NdArray<"float32">,
  latent: number,
  random: Random | undefined,
): NdArray<"float32"> {
  const latents = zeros([...shape.slice(0, -1), latent]);
  for (let to = 0, from = 0; to < latents.data.length; from += 2 * latent) {
    for (let c = 0; c < latent; c++, to++) {
      const mean = data[from + c]!;
      latents.data[to] = random
        ? mean + Math.exp(data[from + latent + c]! / 2) * random.normal()
        : mean;
    }
  }
  return latents;
}

function statsOf({ latent, scale, shift = 0 }: AutoencoderConfig): LatentStats | undefined {
  if (scale === undefined) return undefined;
  return {
    mean: new Float32Array(latent).fill(shift),
    std: new Float32Array(latent).fill(1 / scale),
  };
}
