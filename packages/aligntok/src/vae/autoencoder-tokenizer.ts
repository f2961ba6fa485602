/** An autoencoder that runs: images to latents and back, compiled for each size that arrives. */
import type { Images, LatentStats, NdArray, Parameters, Random } from "@aligntok/core";
import { selectParameters } from "@aligntok/train";
import { concat, transpose } from "@tensorflow/tfjs-core";
import {
  createNetworkTokenizer,
  type DistributionTokenizer,
  drawLatents,
} from "../network-tokenizer.ts";
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
export interface Autoencoder extends DistributionTokenizer {
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
      variational: true,
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
      return drawLatents(await tokenizer.moments!(images), sample);
    },
  };
}

function statsOf({ latent, scale, shift = 0 }: AutoencoderConfig): LatentStats | undefined {
  if (scale === undefined) return undefined;
  return {
    mean: new Float32Array(latent).fill(shift),
    std: new Float32Array(latent).fill(1 / scale),
  };
}
