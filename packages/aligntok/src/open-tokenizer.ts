/** Tokenizers of every kind, known by what a folder or file holds. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { resolveWeights } from "@aligntok/checkpoint";
import { type PixelSize, pixelSize, type Tokenizer } from "@aligntok/core";
import { patchGrid } from "@aligntok/encoders";
import { decoderStride } from "./decoder.ts";
import { readFolderConfig } from "./model-folder.ts";
import { loadTokenizer } from "./tokenizer-file.ts";
import {
  type OpenAutoencoderOptions,
  type Opened,
  openAutoencoder,
} from "./vae/autoencoder-file.ts";

export type OpenTokenizerOptions = OpenAutoencoderOptions;

export interface OpenedTokenizer extends Tokenizer, Opened {
  /** Of the images that it was trained on, or is compared on where that is not known. */
  readonly imageSize: PixelSize;
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
  const path = (await exists(pathOrName))
    ? pathOrName
    : ((await resolveWeights(pathOrName)) ?? pathOrName);
  if (await isAligned(path)) {
    const tokenizer = await loadTokenizer(path, options);
    const { encoder, decoder } = tokenizer.config;
    const stride = decoderStride(decoder);
    const [rows, columns] = patchGrid(encoder);
    const imageSize = pixelSize(rows * stride, columns * stride);
    return { ...tokenizer, model: "aligntok", ignored: [], imageSize };
  }
  return { ...(await openAutoencoder(path, options)), imageSize: baselineSize };
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
