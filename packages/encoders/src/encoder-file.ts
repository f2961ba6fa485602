/** Encoders on disk: a folder with `config.json` and `model.safetensors`, or one safetensors file of a known model. */
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { mapSafetensors, writeFileAtomic, writeSafetensors } from "@aligntok/checkpoint";
import {
  AlignTokError,
  check,
  float32ToFloat16,
  type NdArray,
  ndarray,
  type Parameters,
} from "@aligntok/core";
import { adaptCheckpoint } from "./checkpoint-names.ts";
import { formatConfig, parseConfig } from "./config-file.ts";
import { readJson } from "./config-json.ts";
import { bindEncoder, type EncoderOptions, type VisionEncoder } from "./encoder.ts";
import type { PositionResampling } from "./position-embedding.ts";
import { type ViTConfig, type ViTModel, vitModels } from "./vit.ts";

export interface LoadEncoderOptions extends EncoderOptions {
  /** What a lone file holds; a folder says so itself. @default none */
  readonly model?: ViTModel;
  /** Overrides how position embeddings are fitted to other image sizes. @default as the model's own upstream does it */
  readonly positionResampling?: PositionResampling;
}

/**
 * Loads an encoder.
 *
 * @param path a folder as `save_pretrained` of transformers writes it (dinov2, dinov2_with_registers, vit) or
 *   with timm's fields in `config.json`; or a `.safetensors` file, together with the option `model`.
 * @throws AlignTokError `not-found`, `bad-format`, `unsupported`, or `bad-input` naming the keys when weights
 *   and configuration do not fit each other.
 */
export async function loadEncoder(
  path: string,
  { model, positionResampling, ...options }: LoadEncoderOptions = {},
): Promise<VisionEncoder> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    (cause) => {
      throw new AlignTokError(
        "not-found",
        `encoder: expected a folder or a .safetensors file, got ${path}, which does not exist`,
        { cause },
      );
    },
  );
  const described = isFolder ? await readConfig(path) : namedConfig(path, model);
  const config = { ...described, ...(positionResampling && { positionResampling }) };
  const { tensors } = await mapSafetensors(isFolder ? join(path, "model.safetensors") : path);
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
  const tensors: Record<string, NdArray> =
    dtype === "float32"
      ? parameters
      : Object.fromEntries(
          Object.entries(parameters).map(([name, { data, shape }]) => [
            name,
            ndarray(float32ToFloat16(data), shape, "float16"),
          ]),
        );
  await writeSafetensors(join(folder, "model.safetensors"), tensors, {
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

function namedConfig(path: string, model: ViTModel | undefined): ViTConfig {
  const names = Object.keys(vitModels).join(", ");
  const known = model && Object.hasOwn(vitModels, model) ? vitModels[model] : undefined;
  check(
    known,
    () => `encoder ${path}: expected the option model to be one of ${names}, got ${model}`,
  );
  return known;
}
