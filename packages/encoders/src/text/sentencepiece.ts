/**
 * T5's tokenizer from a SentencePiece model (`spiece.model`, a protobuf message `ModelProto` of google/sentencepiece):
 * its unigram model and normaliser as SentencePiece runs them, with T5's sentinels and end token around.
 */
import {
  type ProtobufField,
  type ProtobufMessage,
  readProtobufFields,
  readProtobufText,
} from "@aligntok/checkpoint";
import { AlignTokError, check } from "@aligntok/core";
import { parseCharsmap, replaceLongest } from "./charsmap.ts";
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
  const fields = fieldsOf({ bytes, start: 0, end: bytes.length });
  const pieces = all(fields, 1).map((field, id): Piece => {
    const inner = fieldsOf(messageOf(field, `piece ${id}`));
    return {
      text: readProtobufText(messageOf(last(inner, 1), `piece ${id}`)),
      score: floatOf(last(inner, 2)) ?? 0,
      kind: integerOf(last(inner, 3)) ?? normal,
    };
  });
  check(
    pieces.length > 0,
    "sentencepiece model: expected pieces, got none. is this a .model file?",
  );
  const trainer = innerFields(last(fields, 2));
  const normalizer = innerFields(last(fields, 3));
  const kind = integerOf(last(trainer, 3)) ?? 1;
  const asSuffix = integerOf(last(trainer, 24)) === 1;
  const escaped = integerOf(last(normalizer, 5)) !== 0;
  if (kind !== 1 || asSuffix || !escaped) {
    throw new AlignTokError(
      "unsupported",
      `sentencepiece model: expected a unigram model (1) with escaped spaces before words, as T5's, got model type ${kind}${asSuffix ? ", spaces after words" : ""}${escaped ? "" : ", plain spaces"}. convert it to tokenizer.json with transformers`,
    );
  }
  return {
    pieces,
    byteFallback: integerOf(last(trainer, 35)) === 1,
    end: integerOf(last(trainer, 42)) ?? 2,
    padding: integerOf(last(trainer, 43)) ?? -1,
    charsmap: bytesOf(last(normalizer, 2)),
    dummyPrefix: integerOf(last(normalizer, 3)) !== 0,
    removeSpaces: integerOf(last(normalizer, 4)) !== 0,
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

function fieldsOf(message: ProtobufMessage): ProtobufField[] {
  return [...readProtobufFields(message)];
}

/** Of a message that may be left out. */
function innerFields(field: ProtobufField | undefined): ProtobufField[] {
  return field?.wire === 2 ? fieldsOf(field) : [];
}

function integerOf(field: ProtobufField | undefined): number | undefined {
  return field?.wire === 0 ? Number(BigInt.asIntN(32, field.value)) : undefined;
}

function floatOf(field: ProtobufField | undefined): number | undefined {
  if (field?.wire !== 5) return undefined;
  return new Float32Array(Uint32Array.of(Number(field.value)).buffer)[0];
}

function bytesOf(field: ProtobufField | undefined): Uint8Array | undefined {
  return field?.wire === 2 ? field.bytes.subarray(field.start, field.end) : undefined;
}

function messageOf(field: ProtobufField | undefined, what: string): ProtobufMessage {
  if (field?.wire === 2) return field;
  throw new AlignTokError(
    "bad-format",
    `sentencepiece ${what}: expected a message, got none. is this a .model file?`,
  );
}
