import type { ViTConfig } from "@aligntok/encoders";
import type { AdapterConfig, AdapterForm } from "./adapter.ts";
import type { DecoderConfig } from "./decoder.ts";
import type { Interpolation } from "./resize.ts";

/** Architecture of a tokenizer, as stored in its `config.json`. */
export interface TokenizerConfig {
  readonly encoder: ViTConfig;
  readonly decoder: DecoderConfig;
  /** @default two layers as wide as the encoder */
  readonly adapter?: AdapterForm;
  /** How images are resized for an encoder whose patch is not the decoder's stride. @default "bilinear" */
  readonly interpolation?: Interpolation;
}

/** The form of a tokenizer's adapter with the widths that it takes from encoder and decoder. */
export function adapterOf({ encoder, decoder, adapter }: TokenizerConfig): AdapterConfig {
  return { ...adapter, width: encoder.width, latent: decoder.latent };
}
