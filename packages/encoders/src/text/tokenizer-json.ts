/**
 * Tokenizers from `tokenizer.json` of Hugging Face, run by `@huggingface/tokenizers`.
 *
 * What that library only approximates is done here, so that ids are those of Hugging Face's own tokenizers: Unigram with
 * byte fallback, compiled character maps, lower case letter by letter, and what is white space.
 */
import { AlignTokError, check } from "@aligntok/core";
import { isRecord, type Json } from "../config-json.ts";
import { parseCharsmap, replaceGraphemes } from "./charsmap.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import {
  BPE,
  type Normalizer,
  type PreTokenizer,
  SequenceNormalizer,
  SequencePreTokenizer,
  Tokenizer,
} from "./tokenizers-library.ts";
import { createUnigram, type PieceModel } from "./unigram.ts";

export interface TokenizerSettings {
  /** The token that shorter texts are filled up with. */
  readonly padToken: string;
  readonly maxLength?: number;
}

/** What takes the place of the parts that a `tokenizer.json` describes. */
export interface TokenizerParts {
  readonly normalize?: (text: string) => string;
  readonly model?: PieceModel;
}

/**
 * A tokenizer of the parsed `tokenizer.json`.
 *
 * @throws AlignTokError `bad-format` for what is no such file, `unsupported` for a kind of tokenizer that is not known.
 */
export function createTextTokenizer(
  json: unknown,
  { padToken, maxLength }: TokenizerSettings,
  parts: TokenizerParts = {},
): TextTokenizer {
  const tokenizer = readable(() => assemble(json, parts));
  const added = [...tokenizer.get_added_tokens_decoder()];
  const padding =
    added.find(([, { content }]) => content === padToken)?.[0] ?? tokenizer.token_to_id(padToken);
  check(
    padding !== undefined,
    () => `tokenizer pad_token: expected a token of the vocabulary, got ${padToken}`,
  );
  const { post_processor: post } = tokenizer;
  const processed = post ? post.post_process([""], null, true).tokens : [""];
  const leading = processed.indexOf("");
  return {
    padding,
    ends: [leading, processed.length - 1 - leading],
    ...(maxLength !== undefined && { maxLength }),
    encode(text) {
      const ids = tokenizer.encode(text).ids;
      const known = ids.every((id) => id !== undefined);
      check(
        known,
        () =>
          `tokenizer: expected pieces of its vocabulary, got others in ${JSON.stringify(text.slice(0, 80))}`,
      );
      return Int32Array.from(ids as number[]);
    },
  };
}

function assemble(json: unknown, { normalize, model }: TokenizerParts): Tokenizer {
  check(isRecord(json) && isRecord(json.model), "tokenizer.json: expected an object with a model");
  const absent = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const pieces = model ?? unigramOf(json.model);
  const tokenizer = new Tokenizer(
    {
      ...absent,
      added_tokens: [],
      ...json,
      normalizer: null,
      pre_tokenizer: null,
      decoder: null,
      ...(pieces && { model: { type: "BPE", vocab: {}, merges: [] } }), // replaced below
    },
    {},
  );
  tokenizer.normalizer = normalize ? normalizerOf(normalize) : readNormalizer(json.normalizer);
  tokenizer.pre_tokenizer = readPreTokenizer(json.pre_tokenizer);
  if (pieces) {
    tokenizer.model = Object.assign(new BPE({ vocab: {}, merges: [] }), {
      tokens_to_ids: new Map(pieces.ids),
      unk_token_id: pieces.unknown,
      encode: (texts: string[]) => texts.flatMap((text) => pieces.encode(text)),
    });
  }
  return tokenizer;
}

function unigramOf(model: Json): PieceModel | undefined {
  if (model.type !== "Unigram") return undefined;
  const { vocab, unk_id, byte_fallback } = model;
  check(
    Array.isArray(vocab) &&
      vocab.every((entry) => typeof entry?.[0] === "string" && typeof entry[1] === "number"),
    "tokenizer.json model.vocab: expected pairs of a piece and its score",
  );
  return createUnigram({
    vocabulary: vocab,
    unknown: Number(unk_id),
    byteFallback: byte_fallback === true,
    sums: "float64",
  });
}

function normalizerOf(normalize: (text: string) => string): Normalizer {
  const empty = new SequenceNormalizer({ normalizers: [] });
  return Object.assign(empty, { normalize });
}

function readNormalizer(json: unknown): Normalizer | null {
  if (!isRecord(json)) return null;
  switch (json.type) {
    case "Sequence": {
      const parts = listOf(json.normalizers).map(readNormalizer);
      return normalizerOf((text) => parts.reduce((done, part) => part?.(done) ?? done, text));
    }
    case "Precompiled": {
      if (typeof json.precompiled_charsmap !== "string") return null;
      const charsmap = parseCharsmap(Buffer.from(json.precompiled_charsmap, "base64"));
      return normalizerOf((text) => replaceGraphemes(charsmap, text));
    }
    case "Lowercase": // of each letter alone: a word's last sigma is like any other
      return normalizerOf((text) => Array.from(text, (letter) => letter.toLowerCase()).join(""));
    default:
      return new SequenceNormalizer({ normalizers: [json] });
  }
}

function readPreTokenizer(json: unknown): PreTokenizer | null {
  if (!isRecord(json)) return null;
  if (json.type === "Sequence") {
    const sequence = new SequencePreTokenizer({ pretokenizers: [] });
    return Object.assign(sequence, {
      tokenizers: listOf(json.pretokenizers).map(readPreTokenizer),
    });
  }
  const one = new SequencePreTokenizer({ pretokenizers: [json] });
  const [part] = one.tokenizers;
  if (json.type === "WhitespaceSplit") {
    const split = (text: string) => text.split(/\p{White_Space}+/u).filter((word) => word);
    return Object.assign(part!, { pre_tokenize_text: split });
  }
  // JavaScript's \s has U+FEFF and lacks U+0085
  if (json.type === "ByteLevel") part!.pattern = byteLevelWords;
  return part ?? null;
}

const byteLevelWords =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function listOf(value: unknown): readonly unknown[] {
  check(
    Array.isArray(value),
    () => `tokenizer.json: expected a list of parts, got ${typeof value}`,
  );
  return value;
}

/** The library's errors, of many kinds, as ours. */
function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (AlignTokError.isInstance(cause)) throw cause;
    const reason = cause instanceof Error ? cause.message : cause;
    const unknown = /^Unknown .* type/.test(`${reason}`);
    throw new AlignTokError(
      unknown ? "unsupported" : "bad-format",
      `tokenizer.json: expected a tokenizer that @huggingface/tokenizers reads, got: ${reason}`,
      { cause },
    );
  }
}
