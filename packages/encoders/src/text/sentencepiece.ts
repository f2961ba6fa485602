/**
 * T5's tokenizer from a SentencePiece model (`spiece.model`, a protobuf message `ModelProto` of google/sentencepiece):
 * its unigram model and normaliser as SentencePiece runs them, with T5's sentinels and end token around.
 */
import { AlignTokError, check } from "@aligntok/core";
import { parseCharsmap, replaceLongest } from "./charsmap.ts";
import { type ProtobufField, readProtobuf } from "./protobuf.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import { createTextTokenizer } from "./tokenizer-json.ts";
import { createUnigram } from "./unigram.ts";

/** Kinds of pieces. */
const [normal, unknown, control, userDefined] = [1, 2, 3, 4] as const;

interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: number;
}

export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly byteFallback: boolean;
  /** Ids; -1 where there is none. */
  readonly end: number;
  readonly padding: number;
  readonly charsmap: Uint8Array | undefined;
  /** Whether texts begin with a space. */
  readonly dummyPrefix: boolean;
  /** Whether spaces at the ends and second ones in a row are dropped. */
  readonly removeSpaces: boolean;
}

/**
 * The parts of a model file that matter here.
 *
 * @throws AlignTokError `bad-format` for other bytes; `unsupported` for models that are not unigram or that normalise
 *   in ways that T5's do not.
 */
export function parseSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const fields = readProtobuf(bytes);
  const pieces = all(fields, 1).map((field, id): Piece => {
    const inner = readProtobuf(bytesOf(field, `piece ${id}`));
    return {
      text: Buffer.from(bytesOf(last(inner, 1), `piece ${id}`)).toString("utf8"),
      score: last(inner, 2)?.float ?? 0,
      kind: last(inner, 3)?.integer ?? normal,
    };
  });
  check(
    pieces.length > 0,
    "sentencepiece model: expected pieces, got none. is this a .model file?",
  );
  const trainer = readProtobuf(last(fields, 2)?.bytes ?? new Uint8Array());
  const normalizer = readProtobuf(last(fields, 3)?.bytes ?? new Uint8Array());
  const kind = last(trainer, 3)?.integer ?? 1;
  const asSuffix = last(trainer, 24)?.integer === 1;
  const escaped = last(normalizer, 5)?.integer !== 0;
  if (kind !== 1 || asSuffix || !escaped) {
    throw new AlignTokError(
      "unsupported",
      `sentencepiece model: expected a unigram model (1) with escaped spaces before words, as T5's, got model type ${kind}${asSuffix ? ", spaces after words" : ""}${escaped ? "" : ", plain spaces"}. convert it to tokenizer.json with transformers`,
    );
  }
  return {
    pieces,
    byteFallback: last(trainer, 35)?.integer === 1,
    end: last(trainer, 42)?.integer ?? 2,
    padding: last(trainer, 43)?.integer ?? -1,
    charsmap: last(normalizer, 2)?.bytes,
    dummyPrefix: last(normalizer, 3)?.integer !== 0,
    removeSpaces: last(normalizer, 4)?.integer !== 0,
  };
}

/**
 * T5's tokenizer: the pieces, `extraIds` sentinels after them in falling order, and the end token after every text.
 * Control symbols and sentinels that a text spells out are recognised, as transformers does.
 */
export function sentencePieceTokenizer(
  model: SentencePieceModel,
  { extraIds = 100, maxLength }: { readonly extraIds?: number; readonly maxLength?: number } = {},
): TextTokenizer {
  const { pieces } = model;
  const kindOf = (id: number) => pieces[id]!.kind;
  const special = pieces.flatMap(({ text, kind }, id) =>
    kind === control || kind === unknown ? [{ id, content: text, special: true }] : [],
  );
  const sentinels = Array.from({ length: extraIds }, (_, i) => ({
    id: pieces.length + i,
    content: `<extra_id_${extraIds - 1 - i}>`,
    special: true,
  }));
  const unigram = createUnigram({
    vocabulary: pieces.map(({ text, score }) => [text, score]),
    unknown: pieces.findIndex(({ kind }) => kind === unknown),
    byteFallback: model.byteFallback,
    usable: (id) => kindOf(id) === normal || kindOf(id) === userDefined,
    userDefined: (id) => kindOf(id) === userDefined,
    sums: "float32",
  });
  const end = pieces[model.end]?.text;
  check(end !== undefined, `sentencepiece model: expected an end token, as T5's, got none`);
  return createTextTokenizer(
    {
      added_tokens: [...special, ...sentinels],
      model: {},
      post_processor: {
        type: "TemplateProcessing",
        single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: end, type_id: 0 } }],
      },
    },
    {
      // without a padding token any id will do, for padding is hidden
      padToken: pieces[model.padding]?.text ?? end,
      ...(maxLength !== undefined && { maxLength }),
    },
    { normalize: normalizerOf(model), model: unigram },
  );
}

const space = "\u2581";

/** SentencePiece's normaliser. User-defined symbols stay as they are. */
function normalizerOf(model: SentencePieceModel): (text: string) => string {
  const charsmap = model.charsmap?.length ? parseCharsmap(model.charsmap) : undefined;
  const symbols = model.pieces
    .filter(({ kind, text }) => kind === userDefined && text)
    .map(({ text }) => text)
    .sort((a, b) => b.length - a.length)
    .map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const kept = symbols.length ? new RegExp(`(${symbols.join("|")})`) : undefined;
  const replace = (text: string) => (charsmap ? replaceLongest(charsmap, text) : text);

  return (text) => {
    const parts = kept ? text.split(kept) : [text]; // every second one is a symbol
    const replaced = parts.map((part, i) => (i % 2 ? part : replace(part))).join("");
    const trimmed = model.removeSpaces ? replaced.replace(/ +/g, " ").replace(/^ /, "") : replaced;
    if (!trimmed) return "";
    const escaped = (model.dummyPrefix ? space : "") + trimmed.replaceAll(" ", space);
    return model.removeSpaces ? escaped.replace(/\u2581+$/, "") : escaped;
  };
}

function all(fields: readonly ProtobufField[], number: number): ProtobufField[] {
  return fields.filter((field) => field.number === number);
}

/** The last one of a number counts. */
function last(fields: readonly ProtobufField[], number: number): ProtobufField | undefined {
  return fields.findLast((field) => field.number === number);
}

function bytesOf(field: ProtobufField | undefined, what: string): Uint8Array {
  if (field?.bytes) return field.bytes;
  throw new AlignTokError(
    "bad-format",
    `sentencepiece ${what}: expected a message, got none. is this a .model file?`,
  );
}
