/** Tokenizers on disk. */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { AlignTokError } from "@aligntok/core";
import { isRecord, type Json, readJson } from "../config-json.ts";
import { clipTokenizerJson, clipTokenizerJsonOf } from "./clip-vocabulary.ts";
import { parseSentencePiece, sentencePieceTokenizer } from "./sentencepiece.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import { createTextTokenizer, type TokenizerSettings } from "./tokenizer-json.ts";

/** Looked for in a folder, in this order. */
const files = [
  "tokenizer.json",
  "vocab.json",
  "bpe_simple_vocab_16e6.txt.gz",
  "spiece.model",
] as const;

/** OpenAI's file has 3 MB of text. */
const largestVocabulary = 2 ** 26;

/**
 * Loads a tokenizer.
 *
 * Ids are those of transformers for `tokenizer.json` and CLIP's files (texts are not repaired by ftfy and keep their
 * HTML entities, unlike in OpenAI's own code), and those of SentencePiece for `.model` files, which are taken for T5's.
 *
 * @param path a file or a folder with one of: `tokenizer.json`; `vocab.json` and `merges.txt` of CLIP;
 *   `bpe_simple_vocab_16e6.txt.gz`; `spiece.model`. `tokenizer_config.json` beside it gives the padding token and the
 *   longest text.
 * @throws AlignTokError `not-found`, `io`, `bad-format`, `unsupported`.
 */
export async function loadTokenizer(path: string): Promise<TextTokenizer> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const file = isFolder ? await findFile(path) : path;
  const bytes = await readBytes(file);
  const config = await readSettings(dirname(file));
  if (isGzip(bytes) || startsWith(bytes, '"') || startsWith(bytes, "#")) {
    return createTextTokenizer(clipTokenizerJson(textOf(bytes)), withPadding(config, clipPadding));
  }
  if (startsWith(bytes, "{")) {
    const json = await readJson(file);
    if (isRecord(json) && !("model" in json)) {
      const merges = textOf(await readBytes(join(dirname(file), "merges.txt")));
      return createTextTokenizer(
        clipTokenizerJsonOf(json, merges),
        withPadding(config, clipPadding),
      );
    }
    return createTextTokenizer(json, withPadding(config, paddingOf(json)));
  }
  const { maxLength, extraIds } = config;
  return sentencePieceTokenizer(parseSentencePiece(bytes), {
    ...(maxLength !== undefined && { maxLength }),
    ...(extraIds !== undefined && { extraIds }),
  });
}

const clipPadding = "<|endoftext|>";

/** The padding token of T5 or of CLIP, where no configuration names one. */
function paddingOf(json: unknown): string {
  const text = JSON.stringify(isRecord(json) ? (json.added_tokens ?? []) : []);
  return text.includes('"<pad>"') ? "<pad>" : clipPadding;
}

interface Settings {
  readonly padToken?: string;
  readonly maxLength?: number;
  readonly extraIds?: number;
}

function withPadding({ padToken, maxLength }: Settings, fallback: string): TokenizerSettings {
  return { padToken: padToken ?? fallback, ...(maxLength !== undefined && { maxLength }) };
}

async function readSettings(folder: string): Promise<Settings> {
  const config = await readJson(join(folder, "tokenizer_config.json"));
  if (!isRecord(config)) return {};
  const { pad_token, model_max_length: longest, extra_ids: extra } = config as Json;
  const pad = isRecord(pad_token) ? pad_token.content : pad_token;
  return {
    ...(typeof pad === "string" && { padToken: pad }),
    // transformers writes 1e30 where there is no limit
    ...(typeof longest === "number" && longest >= 1 && longest < 1e6 && { maxLength: longest }),
    ...(typeof extra === "number" && extra >= 0 && extra < 1e5 && { extraIds: extra }),
  };
}

async function findFile(folder: string): Promise<string> {
  for (const name of files) {
    const path = join(folder, name);
    const found = await stat(path).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (found) return path;
  }
  throw new AlignTokError(
    "not-found",
    `tokenizer: expected one of ${files.join(", ")} in ${folder}, got none`,
  );
}

async function readBytes(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const absent = cause.code === "ENOENT";
    throw new AlignTokError(
      absent ? "not-found" : "io",
      `tokenizer: expected a readable file, got ${path}, ${absent ? "which does not exist" : cause.code}`,
      { cause },
    );
  });
}

function textOf(bytes: Uint8Array): string {
  if (!isGzip(bytes)) return Buffer.from(bytes).toString("utf8");
  try {
    return gunzipSync(bytes, { maxOutputLength: largestVocabulary }).toString("utf8");
  } catch (cause) {
    throw new AlignTokError(
      "bad-format",
      `tokenizer: expected a gzip file of at most ${largestVocabulary} bytes, got ${bytes.length} bytes that do not unpack`,
      { cause },
    );
  }
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return bytes[0] === text.charCodeAt(0);
}
