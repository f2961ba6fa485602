/** Encoders on disk: a folder with `config.json` and `model.safetensors`, or one file of a known model. */
import { mkdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import {
  castFloats,
  locateWeights,
  openCheckpoint,
  writeFileAtomic,
  writeSafetensors,
} from "@aligntok/checkpoint";
import { AlignTokError, check, type NdArray, type Parameters } from "@aligntok/core";
import {
  adaptCheckpoint,
  fitHeads,
  isTransformersNamed,
  recogniseModels,
} from "./checkpoint-names.ts";
import { formatConfig, parseConfig, transformersOwn } from "./config-file.ts";
import { readJson } from "./config-json.ts";
import { bindEncoder, type EncoderOptions, type VisionEncoder } from "./encoder.ts";
import { findViTModel, vitModels } from "./models.ts";
import { checkPositionResampling, type PositionResampling } from "./position-embedding.ts";
import { checkPrecision } from "./precision.ts";
import type { ViTConfig } from "./vit.ts";

export interface LoadEncoderOptions extends EncoderOptions {
  /**
   * What a lone file holds: a key of `vitModels`, or a timm or Hugging Face name of one. A folder says so itself, and
   * must be of that size.
   * @default the one known model of these names and shapes
   */
  readonly model?: string;
  /** Overrides how position embeddings are fitted to other image sizes. @default as the model's own upstream does it */
  readonly positionResampling?: PositionResampling;
}

/**
 * Loads an encoder.
 *
 * @param pathOrName a folder as `save_pretrained` of transformers writes it, as timm's on the Hub, or with timm's fields in
 *   `config.json`; or a file that `openCheckpoint` reads;
 *   or the name of weights that the cache holds already (`resolveWeights`: nothing is downloaded).
 * @throws AlignTokError `not-found`, `bad-format`, `unsupported`, or `bad-input` naming the keys when weights
 *   and configuration do not fit each other, naming the candidates when a file may be one of several models, or for
 *   options of other values.
 */
export async function loadEncoder(
  pathOrName: string,
  { model, positionResampling, ...options }: LoadEncoderOptions = {},
): Promise<VisionEncoder> {
  checkPrecision(options.precision);
  if (positionResampling !== undefined) checkPositionResampling(positionResampling);
  const { path, isFolder } = await locateWeights(pathOrName);
  const described = isFolder ? await readConfig(path) : undefined;
  if (described && model !== undefined) checkIsModel(path, described, model);
  const { tensors } = await openCheckpoint(path);
  const known = described ?? namedConfig(path, model, tensors);
  const config = { ...known, ...(positionResampling && { positionResampling }) };
  return bindEncoder(config, adaptCheckpoint(config, tensors), options);
}

export interface SaveEncoderOptions {
  /** @default "float32" */
  readonly dtype?: "float32" | "float16";
}

/**
 * Writes `config.json` (timm's fields) and `model.safetensors` into a folder, made where absent. `loadEncoder` reads them back.
 *
 * @throws AlignTokError `bad-input` for a folder that holds the weights themselves: those of a loaded encoder stay in
 *   their file until they are needed
 */
export async function saveEncoder(
  folder: string,
  { config, parameters }: { readonly config: ViTConfig; readonly parameters: Parameters },
  { dtype = "float32" }: SaveEncoderOptions = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, "model.safetensors");
  const replaced = await realpath(path).catch(() => undefined);
  check(
    replaced === undefined || Object.values(parameters).every((p) => p.source?.path !== replaced),
    () =>
      `encoder folder: expected another than the one the weights are read from, got ${folder}. save to a new folder`,
  );
  await writeSafetensors(path, castFloats(parameters, dtype), {
    metadata: { format: "pt" },
  });
  await writeFileAtomic(
    join(folder, "config.json"),
    `${JSON.stringify(formatConfig(config), null, 2)}\n`,
  );
}

async function readConfig(folder: string): Promise<ViTConfig> {
  const json = await readJson(join(folder, "config.json"));
  check(
    json !== undefined,
    `encoder: expected config.json and model.safetensors in ${folder}, got no config.json`,
  );
  return parseConfig(json, (await readJson(join(folder, "preprocessor_config.json"))) ?? {});
}

/** That the model named is of the size that the folder says. */
function checkIsModel(path: string, config: ViTConfig, model: string): void {
  const sizesOf = ({ width, depth, patchSize }: ViTConfig) =>
    `width ${width}, depth ${depth}, patches of ${patchSize}`;
  const [expected, got] = [sizesOf(findViTModel(model)), sizesOf(config)];
  check(
    got === expected,
    () =>
      `encoder ${path}: expected a config.json of ${model} (${expected}), got ${got}. leave out the option model`,
  );
}

/** What a lone file holds, with the heads that it has, as the library runs it whose names it has. */
function namedConfig(
  path: string,
  model: string | undefined,
  tensors: Readonly<Record<string, NdArray>>,
): ViTConfig {
  const candidates = model === undefined ? recogniseModels(tensors) : [];
  const [only] = candidates;
  if (model !== undefined || (only && candidates.length === 1)) {
    const known = model === undefined ? vitModels[only!] : findViTModel(model);
    return fitHeads(isTransformersNamed(tensors) ? transformersOwn(known) : known, tensors);
  }
  const got = only ? `what may be ${candidates.join(", ")}` : "names and shapes of no known model";
  throw new AlignTokError(
    "bad-input",
    `encoder ${path}: expected one known model, got ${got}. say which with the option model (a key of vitModels), or put a config.json beside it`,
  );
}
