/** Tokenizers of every kind, known by what a folder or file holds. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { locateWeights, openCheckpoint } from "@aligntok/checkpoint";
import { type LatentStats, type NdArray, type PixelSize, pixelSize, sizeOf } from "@aligntok/core";
import { patchGrid } from "@aligntok/encoders";
import { decoderStride } from "./decoder.ts";
import { readFolderConfig, takeStats } from "./model-folder.ts";
import type { DistributionTokenizer } from "./network-tokenizer.ts";
import type { TokenizerConfig } from "./tokenizer-config.ts";
import { loadTokenizer, readTokenizerConfig } from "./tokenizer-file.ts";
import { type AutoencoderConfig, autoencoderStride } from "./vae/autoencoder.ts";
import {
  findAutoencoder,
  type OpenAutoencoderOptions,
  type Opened,
  openAutoencoder,
} from "./vae/autoencoder-file.ts";
import { type TinyAutoencoderConfig, tinyStride } from "./vae/taesd.ts";

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
    return { ...tokenizer, model: "aligntok", ignored: [], ...sizesOf(tokenizer.config) };
  }
  const tokenizer = await openAutoencoder(path, options);
  const [side] = tokenizer.latentShape(baselineSize, baselineSize);
  return { ...tokenizer, imageSize: baselineSize, stride: baselineSize / side };
}

/** What a file or folder holds, its weights not read. */
export interface InspectedTokenizer extends Opened {
  /** Architecture: of AlignTok as in its `config.json`, of others what their shapes tell. */
  readonly config: TokenizerConfig | AutoencoderConfig | TinyAutoencoderConfig;
  readonly imageSize: PixelSize;
  /** Pixels of an image per latent position, along each side. */
  readonly stride: number;
  /** Channels of a latent. */
  readonly latent: number;
  /** Number of weights of each part, by the first word of their names. */
  readonly parts: Readonly<Record<string, number>>;
  /** Under the names of its `parameters`, in the dtypes of the file; read when first looked at. */
  readonly tensors: Readonly<Record<string, NdArray>>;
  readonly stats: LatentStats | undefined;
}

/** Tells what `openTokenizer` would open, with the same arguments and errors, for missing and unknown keys. */
export async function inspectTokenizer(
  pathOrName: string,
  { model }: Pick<OpenTokenizerOptions, "model"> = {},
): Promise<InspectedTokenizer> {
  const { path } = await locateWeights(pathOrName);
  if (await isAligned(path)) {
    const config = await readTokenizerConfig(path);
    const { latent } = config.decoder;
    const { tensors } = await openCheckpoint(join(path, "model.safetensors"));
    const { rest, stats } = takeStats(tensors, latent);
    return {
      model: "aligntok",
      ignored: [],
      config,
      ...sizesOf(config),
      latent,
      stats,
      parts: countParts(rest),
      tensors: rest,
    };
  }
  const { kind, tensors, ...found } = await findAutoencoder(path, model);
  const { config, stats } = "stats" in found ? found : { ...found, stats: undefined };
  return {
    ...found,
    config,
    stats,
    latent: config.latent,
    imageSize: baselineSize,
    stride: kind === "tiny" ? tinyStride : autoencoderStride(config as AutoencoderConfig),
    parts: countParts(tensors),
    tensors,
  };
}

function countParts(tensors: Readonly<Record<string, NdArray>>): Record<string, number> {
  const parts: Record<string, number> = {};
  for (const [name, { shape }] of Object.entries(tensors)) {
    const [part = name] = name.split(".");
    parts[part] = (parts[part] ?? 0) + sizeOf(shape);
  }
  return parts;
}

function sizesOf({ encoder, decoder }: TokenizerConfig) {
  const stride = decoderStride(decoder);
  const [rows, columns] = patchGrid(encoder);
  return { stride, imageSize: pixelSize(rows * stride, columns * stride) };
}

export async function isAligned(path: string): Promise<boolean> {
  if (!(await exists(join(path, "config.json")))) return false;
  return (await readFolderConfig(path)).model_type === "aligntok";
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
