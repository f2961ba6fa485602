/** A tiny autoencoder that runs: images to latents and back, compiled for each size that arrives. */
import type { Parameters, Tokenizer } from "@aligntok/core";
import { selectParameters } from "@aligntok/train";
import { transpose } from "@tensorflow/tfjs-core";
import { createNetworkTokenizer } from "../network-tokenizer.ts";
import type { RowFunctionOptions } from "../row-function.ts";
import {
  applyTinyDecoder,
  applyTinyEncoder,
  type TinyAutoencoderConfig,
  tinyStride,
} from "./taesd.ts";

/** A configuration with its weights, under the names of `tinyAutoencoderShapes`. */
export interface TinyAutoencoderWeights {
  readonly config: TinyAutoencoderConfig;
  readonly parameters: Parameters;
}

/** A `Tokenizer` of core whose latents are those that diffusion models work with, already scaled: it has no `stats`. */
export interface TinyAutoencoder extends Tokenizer, TinyAutoencoderWeights {}

/** Binds weights to graphs, which are compiled at the first batch of each shape. */
export function createTinyAutoencoder(
  { config, parameters }: TinyAutoencoderWeights,
  options: RowFunctionOptions = {},
): TinyAutoencoder {
  const tokenizer = createNetworkTokenizer(
    {
      stride: tinyStride,
      latent: config.latent,
      variational: false,
      encode: (params, images) => transpose(applyTinyEncoder(config, params, images), [0, 2, 3, 1]),
      decode: (params, latents) => applyTinyDecoder(config, params, latents),
      encoderWeights: selectParameters(parameters, ["encoder"]),
      decoderWeights: selectParameters(parameters, ["decoder"]),
      stats: undefined,
    },
    options,
  );
  return { ...tokenizer, config, parameters };
}
