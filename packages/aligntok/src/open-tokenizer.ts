/** Tokenizers of every kind, known by what a folder or file holds. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { locateWeights } from "@aligntok/checkpoint";
import { type PixelSize, pixelSize } from "@aligntok/core";
import { patchGrid } from "@aligntok/encoders";
import { decoderStride } from "./decoder.ts";
import { readFolderConfig } from "./model-folder.ts";
import type { DistributionTokenizer } from "./network-tokenizer.ts";
import { loadTokenizer } from "./tokenizer-file.ts";
import {
  type OpenAutoencoderOptions,
  type Opened,
  openAutoencoder,
} from "./vae/autoencoder-file.ts";

export type OpenTokenizerOptions = OpenAutoencoderOptions;

export interface OpenedTokenizer extends DistributionTokenizer, Opened {
  /** Of the images that it was trained on, or is compared on where that is not known. */
  readonly imageSize: PixelSize;
  /** Pixels of an image per latent position, along each side. */
  readonly stride: number;
}

/** Of the comparisons that the baselines stand in. */
const baselineSize = 256;

/**
 * Opens a tokenizer.
 *
 * @param pathOrName a folder of `saveTokenizer`; anything that `openAutoencoder` of `@aligntok/aligntok/vae` takes; or the
 *   name of weights that the cache holds already (`resolveWeights`: nothing is downloaded)
 * @throws AlignTokError `not-found`, `bad-format`, `unsupported`; `bad-input` listing the keys that are missing or unknown
 */
export async function openTokenizer(
  pathOrName: string,
  options: OpenTokenizerOptions = {},
): Promise<OpenedTokenizer> {
  const { path } = await locateWeights(pathOrName);
  if (await isAligned(path)) {
    const tokenizer = await loadTokenizer(path, options);
    const { encoder, decoder } = tokenizer.config;
    const stride = decoderStride(decoder);
    const [rows, columns] = patchGrid(encoder);
    const imageSize = pixelSize(rows * stride, columns * stride);
    return { ...tokenizer, model: "aligntok", ignored: [], imageSize, stride };
  }
  const tokenizer = await openAutoencoder(path, options);
  const [side] = tokenizer.latentShape(baselineSize, baselineSize);
  return { ...tokenizer, imageSize: baselineSize, stride: baselineSize / side };
}

async function isAligned(path: string): Promise<boolean> {
  if (!(await exists(join(path, "config.json")))) return false;
  return (await readFolderConfig(path)).model_type === "aligntok";
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
