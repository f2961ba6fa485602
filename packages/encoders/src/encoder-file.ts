/** Encoders on disk: a folder with `config.json` and `model.safetensors`, or one file of a known model. */
import { mkdir } from "node:fs/promises";
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
import type { PositionResampling } from "./position-embedding.ts";
import type { ViTConfig } from "./vit.ts";

export interface LoadEncoderOptions extends EncoderOptions {
  /**
   * What a lone file holds: a key of `vitModels`, or a timm or Hugging Face name of one; a folder says so itself.
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
 *   and configuration do not fit each other, or naming the candidates when a file may be one of several models.
 */
export async function loadEncoder(
  pathOrName: string,
  { model, positionResampling, ...options }: LoadEncoderOptions = {},
): Promise<VisionEncoder> {
  const { path, isFolder } = await locateWeights(pathOrName);
  const described = isFolder ? await readConfig(path) : undefined;
  const { tensors } = await openCheckpoint(path);
  const known = described ?? namedConfig(path, model, tensors);
  const config = { ...known, ...(positionResampling && { positionResampling }) };
  return bindEncoder(config, adaptCheckpoint(config, tensors), options);
}

export interface SaveEncoderOptions {
  /** @default "float32" */
  readonly dtype?: "float32" | "float16";
}

/** Writes `config.json` (timm's fields) and `model.safetensors` into a folder, made where absent. `loadEncoder` reads them back. */
export async function saveEncoder(
  folder: string,
  { config, parameters }: { readonly config: ViTConfig; readonly parameters: Parameters },
  { dtype = "float32" }: SaveEncoderOptions = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(join(folder, "model.safetensors"), castFloats(parameters, dtype), {
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
