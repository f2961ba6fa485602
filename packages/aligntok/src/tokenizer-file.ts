/** Tokenizers on disk: a folder with `config.json` and a `model.safetensors` that PyTorch opens. */
import { join } from "node:path";
import { loadParameters } from "@aligntok/checkpoint";
import { check } from "@aligntok/core";
import { formatConfig, parseConfig } from "@aligntok/encoders";
import type { AdapterForm } from "./adapter.ts";
import { asBoolean, asCount, asRecord, type Json } from "./config-json.ts";
import type { DecoderConfig } from "./decoder.ts";
import { checkWeights } from "./expected-weights.ts";
import { readFolderConfig, takeStats, writeModelFolder } from "./model-folder.ts";
import {
  type AlignedTokenizer,
  createTokenizer,
  type TokenizerOptions,
  type TokenizerWeights,
  tokenizerShapes,
} from "./tokenizer.ts";
import type { TokenizerConfig } from "./tokenizer-config.ts";
import type { TrainedStage } from "./train-tokenizer.ts";
import { readTrainingState, writeTrainingState } from "./training-state.ts";

/**
 * Writes `config.json` and `model.safetensors` (`encoder.*` under the encoder's own names, `adapter.*`,
 * `post_quant_conv.*`, `decoder.*`, and `latent_stats.{mean,std}` where known) into a folder, made where absent; of a
 * trained stage also `training.safetensors` with its discriminator, which only `loadTrainedStage` reads.
 *
 * @throws AlignTokError `io` when the folder cannot be written
 */
export async function saveTokenizer(
  folder: string,
  { config, parameters, stats, ...training }: TrainedStage,
): Promise<void> {
  await writeModelFolder(folder, { config: formatTokenizerConfig(config), parameters, stats });
  await writeTrainingState(folder, training);
}

/**
 * Reads a folder that `saveTokenizer` wrote.
 *
 * @throws AlignTokError `not-found` without the files; `bad-format` when they cannot be read; `bad-input`
 *   naming the keys when weights and configuration do not fit each other
 */
export async function loadTokenizer(
  folder: string,
  options: TokenizerOptions = {},
): Promise<AlignedTokenizer> {
  return createTokenizer(await loadWeights(folder), options);
}

/**
 * The weights in a folder of `saveTokenizer` for `trainStage` to go on with, and the discriminator where one was saved.
 * For another size of images, see `fitTokenizer`. Errors as of `loadTokenizer`.
 */
export async function loadTrainedStage(folder: string): Promise<TrainedStage> {
  return { ...(await loadWeights(folder)), ...(await readTrainingState(folder)) };
}

async function loadWeights(folder: string): Promise<TokenizerWeights> {
  const config = await readTokenizerConfig(folder);
  const tensors = await loadParameters(join(folder, "model.safetensors"));
  const { rest: parameters, stats } = takeStats(tensors, config.decoder.latent);
  checkWeights("tokenizer weights", parameters, tokenizerShapes(config));
  return { config, parameters, stats };
}

/** The configuration in a folder of `saveTokenizer`; errors as of `loadTokenizer`. */
export async function readTokenizerConfig(folder: string): Promise<TokenizerConfig> {
  return parseTokenizerConfig(await readFolderConfig(folder));
}

function formatTokenizerConfig({
  encoder,
  decoder,
  adapter,
  interpolation = "bilinear",
}: TokenizerConfig): object {
  return {
    model_type: "aligntok",
    encoder: formatConfig(encoder),
    interpolation,
    ...(adapter && { adapter }),
    decoder: {
      z_channels: decoder.latent,
      ch: decoder.channels,
      ch_mult: decoder.multipliers,
      num_res_blocks: decoder.blocks,
      attn_levels: decoder.attention ?? [],
      num_groups: decoder.groups ?? 32,
      pixel_shuffle: decoder.pixelShuffle ?? 1,
      post_quant_conv: decoder.postQuantConv ?? true,
    },
  };
}

function parseTokenizerConfig(record: Json): TokenizerConfig {
  check(
    record.model_type === "aligntok",
    () =>
      `config model_type: expected aligntok, got ${JSON.stringify(record.model_type)}. open other tokenizers with openTokenizer`,
  );
  const decoder = asRecord(record.decoder, "config decoder");
  const { interpolation = "bilinear" } = record;
  check(
    interpolation === "bilinear" || interpolation === "bicubic",
    () =>
      `config interpolation: expected bilinear or bicubic, got ${JSON.stringify(interpolation)}. correct config.json`,
  );
  return {
    encoder: parseConfig(record.encoder),
    decoder: parseDecoder(decoder),
    ...(record.adapter !== undefined && {
      adapter: parseAdapter(asRecord(record.adapter, "config adapter")),
    }),
    ...(interpolation !== "bilinear" && { interpolation }),
  };
}

function parseAdapter({ kind, hidden, normalized, variational }: Json): AdapterForm {
  check(
    kind === undefined || kind === "mlp" || kind === "linear",
    () =>
      `config adapter kind: expected mlp or linear, got ${JSON.stringify(kind)}. correct config.json`,
  );
  return {
    ...(kind && { kind }),
    ...(hidden !== undefined && { hidden: asCount(hidden, "adapter hidden") }),
    ...(normalized !== undefined && { normalized: asBoolean(normalized, "adapter normalized") }),
    ...(variational !== undefined && {
      variational: asBoolean(variational, "adapter variational"),
    }),
  };
}

function parseDecoder(json: Json): DecoderConfig {
  const counts = (key: string, least: 0 | 1) => {
    const values = json[key];
    check(
      Array.isArray(values) && values.length <= 16,
      () =>
        `config decoder ${key}: expected up to 16 numbers, got ${JSON.stringify(values)}. correct config.json`,
    );
    return values.map((value) => asCount(value, `decoder ${key}`, least));
  };
  const count = (key: string, least: 0 | 1 = 1) => asCount(json[key], `decoder ${key}`, least);
  const multipliers = counts("ch_mult", 1);
  check(
    multipliers.length > 0,
    "config decoder ch_mult: expected at least one level, got none. correct config.json",
  );
  const { post_quant_conv: postQuantConv = true } = json;
  return {
    latent: count("z_channels"),
    channels: count("ch"),
    multipliers,
    blocks: count("num_res_blocks", 0),
    attention: counts("attn_levels", 0),
    groups: count("num_groups"),
    pixelShuffle: count("pixel_shuffle"),
    ...(!asBoolean(postQuantConv, "decoder post_quant_conv") && { postQuantConv: false }),
  };
}
