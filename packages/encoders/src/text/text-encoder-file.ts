/** Text encoders on disk. */
import { join } from "node:path";
import { locateWeights, openCheckpoint } from "@aligntok/checkpoint";
import { check } from "@aligntok/core";
import { readJson } from "../config-json.ts";
import { renameTextTensors, textParameters } from "./text-checkpoint.ts";
import { describeTextCheckpoint, parseTextConfig, type TextConfig } from "./text-config.ts";
import {
  bindTextEncoder,
  type LoadedTextEncoder,
  type TextEncoderOptions,
} from "./text-encoder.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import { loadTokenizer } from "./tokenizer-file.ts";

export interface LoadTextEncoderOptions extends TextEncoderOptions {
  /** A tokenizer, or where its files are (see `loadTokenizer`). @default the folder of the weights */
  readonly tokenizer?: string | TextTokenizer;
}

/**
 * Loads a text encoder: CLIP's or T5's.
 *
 * @param pathOrName a folder as `save_pretrained` of transformers writes it (CLIPModel, CLIPTextModel,
 *   CLIPTextModelWithProjection, T5EncoderModel, T5ForConditionalGeneration), in one file of weights or several; or a
 *   file of weights under their names or OpenAI's, whose sizes its tensors tell, together with the option `tokenizer`;
 *   or the name of weights that the cache holds already (`resolveWeights`: nothing is downloaded).
 * @throws AlignTokError `not-found`, `bad-format`, `unsupported`, or `bad-input` naming the keys when weights
 *   and configuration do not fit each other.
 */
export async function loadTextEncoder(
  pathOrName: string,
  { tokenizer, ...options }: LoadTextEncoderOptions = {},
): Promise<LoadedTextEncoder> {
  const { path, isFolder } = await locateWeights(pathOrName);
  const files = tokenizer ?? (isFolder ? path : undefined);
  check(
    files,
    () =>
      `text encoder ${path}: expected the option tokenizer beside a lone file of weights, got none`,
  );
  const loaded = typeof files === "string" ? await loadTokenizer(files) : files;
  const { tensors } = await openCheckpoint(path);
  const renamed = renameTextTensors(tensors);
  const described = isFolder ? await readConfig(path) : describeTextCheckpoint(renamed);
  const config = withoutAbsentProjection(described, "text_projection.weight" in renamed);
  const parameters = textParameters(config, renamed);
  return bindTextEncoder({ config, parameters, tokenizer: loaded }, options);
}

/** Every configuration of CLIP tells the size of a projection, but CLIPTextModel has none. */
function withoutAbsentProjection(config: TextConfig, present: boolean): TextConfig {
  return config.family === "clip" && !present ? { ...config, embeddingWidth: 0 } : config;
}

async function readConfig(folder: string): Promise<TextConfig> {
  const json = await readJson(join(folder, "config.json"));
  check(
    json !== undefined,
    `text encoder: expected config.json beside the weights in ${folder}, got none`,
  );
  return parseTextConfig(json);
}
