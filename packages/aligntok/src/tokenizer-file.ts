/** Tokenizers on disk: a folder with `config.json` and a `model.safetensors` that PyTorch opens. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadParameters, writeFileAtomic, writeSafetensors } from "@aligntok/checkpoint";
import {
  AlignTokError,
  check,
  type LatentStats,
  listSome,
  ndarray,
  type Parameters,
} from "@aligntok/core";
import { formatConfig, parseConfig } from "@aligntok/encoders";
import type { DecoderConfig } from "./decoder.ts";
import type { TokenizerConfig } from "./stages.ts";
import {
  type AlignedTokenizer,
  createTokenizer,
  type TokenizerOptions,
  type TokenizerWeights,
  tokenizerShapes,
} from "./tokenizer.ts";

const statsKeys = { mean: "latent_stats.mean", std: "latent_stats.std" } as const;

/**
 * Writes `config.json` and `model.safetensors` (`encoder.*` under the encoder's own names, `adapter.*`,
 * `post_quant_conv.*`, `decoder.*`, and `latent_stats.{mean,std}` where known) into a folder, made where absent.
 *
 * @throws AlignTokError `io` when the folder cannot be written
 */
export async function saveTokenizer(folder: string, tokenizer: TokenizerWeights): Promise<void> {
  const { config, parameters, stats } = tokenizer;
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new AlignTokError(
      "io",
      `tokenizer: expected a folder that can be written, got ${folder}. choose another one`,
      { cause },
    );
  }
  const d = config.decoder.latent;
  const tensors = {
    ...parameters,
    ...(stats && {
      [statsKeys.mean]: ndarray(stats.mean, [d]),
      [statsKeys.std]: ndarray(stats.std, [d]),
    }),
  };
  await writeSafetensors(join(folder, "model.safetensors"), tensors, {
    metadata: { format: "pt" },
  });
  await writeFileAtomic(
    join(folder, "config.json"),
    `${JSON.stringify(formatTokenizerConfig(config), null, 2)}\n`,
  );
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
  const config = parseTokenizerConfig(await readJson(join(folder, "config.json")));
  const {
    [statsKeys.mean]: mean,
    [statsKeys.std]: std,
    ...parameters
  } = await loadParameters(join(folder, "model.safetensors"));
  checkWeights(config, parameters);
  const d = config.decoder.latent;
  for (const array of [mean, std]) {
    check(
      !array || array.shape.join() === `${d}`,
      () => `latent_stats: expected shape [${d}], got [${array?.shape}]`,
    );
  }
  const stats: LatentStats | undefined = mean && std && { mean: mean.data, std: std.data };
  return createTokenizer({ config, parameters, stats }, options);
}

/** Names and shapes must be exactly those of the configuration. */
function checkWeights(config: TokenizerConfig, parameters: Parameters): void {
  const expected = tokenizerShapes(config);
  const missing = Object.keys(expected).filter((name) => !parameters[name]);
  const unknown = Object.keys(parameters).filter((name) => !expected[name]);
  const misshapen = Object.keys(expected).filter(
    (name) => parameters[name] && parameters[name].shape.join() !== expected[name]!.join(),
  );
  for (const [names, problem] of [
    [missing, "missing"],
    [unknown, "unknown"],
    [misshapen, "of another shape"],
  ] as const) {
    check(
      names.length === 0,
      () =>
        `tokenizer weights: expected those of its config.json, got ${problem}: ${listSome(names)}. the files do not belong together`,
    );
  }
}

function formatTokenizerConfig({ encoder, decoder, adapterHidden }: TokenizerConfig): object {
  return {
    model_type: "aligntok",
    encoder: formatConfig(encoder),
    ...(adapterHidden && { adapter_hidden: adapterHidden }),
    decoder: {
      z_channels: decoder.latent,
      ch: decoder.channels,
      ch_mult: decoder.multipliers,
      num_res_blocks: decoder.blocks,
      attn_levels: decoder.attention ?? [],
      num_groups: decoder.groups ?? 32,
      pixel_shuffle: decoder.pixelShuffle ?? 1,
    },
  };
}

function parseTokenizerConfig(json: unknown): TokenizerConfig {
  const record = asRecord(json, "config.json");
  check(
    record.model_type === "aligntok",
    () => `config model_type: expected aligntok, got ${JSON.stringify(record.model_type)}`,
  );
  const decoder = asRecord(record.decoder, "config decoder");
  const hidden = record.adapter_hidden;
  return {
    encoder: parseConfig(record.encoder),
    decoder: parseDecoder(decoder),
    ...(hidden !== undefined && { adapterHidden: asCount(hidden, "adapter_hidden") }),
  };
}

function parseDecoder(json: Readonly<Record<string, unknown>>): DecoderConfig {
  const counts = (key: string, least: 0 | 1) => {
    const values = json[key];
    check(
      Array.isArray(values) && values.length <= 16,
      () => `config decoder ${key}: expected up to 16 numbers, got ${JSON.stringify(values)}`,
    );
    return values.map((value) => asCount(value, `decoder ${key}`, least));
  };
  const count = (key: string, least: 0 | 1 = 1) => asCount(json[key], `decoder ${key}`, least);
  const multipliers = counts("ch_mult", 1);
  check(multipliers.length > 0, "config decoder ch_mult: expected at least one level, got none");
  return {
    latent: count("z_channels"),
    channels: count("ch"),
    multipliers,
    blocks: count("num_res_blocks", 0),
    attention: counts("attn_levels", 0),
    groups: count("num_groups"),
    pixelShuffle: count("pixel_shuffle"),
  };
}

/** Bounded, so that no file makes us allocate without end. */
function asCount(value: unknown, what: string, least: 0 | 1 = 1): number {
  check(
    typeof value === "number" && Number.isInteger(value) && value >= least && value <= 16_384,
    () =>
      `config ${what}: expected a whole number from ${least} to 16384, got ${JSON.stringify(value)}`,
  );
  return value;
}

function asRecord(value: unknown, what: string): Readonly<Record<string, unknown>> {
  check(
    typeof value === "object" && value !== null && !Array.isArray(value),
    () => `${what}: expected a JSON object, got ${JSON.stringify(value)?.slice(0, 40)}`,
  );
  return value as Readonly<Record<string, unknown>>;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new AlignTokError(
      cause.code === "ENOENT" ? "not-found" : "io",
      `tokenizer: expected a readable ${path}, got ${cause.code}. a tokenizer is a folder with config.json and model.safetensors`,
      { cause },
    );
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected JSON, got ${text.length} characters that do not parse`,
      { cause },
    );
  }
}
