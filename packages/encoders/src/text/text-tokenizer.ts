/** Texts to ids: what text encoders ask of a tokenizer, and the padding and cutting that all of them share. */
import { check, type NdArray, zeros } from "@aligntok/core";

/** A vocabulary and the way that texts are cut into its pieces. */
export interface TextTokenizer {
  /** Ids of one text with the model's start and end tokens, uncut. */
  encode(text: string): Int32Array;
  /** Number of the leading and of the trailing ids of `encode` that belong to no text. */
  readonly ends: readonly [leading: number, trailing: number];
  /** Id that shorter texts are filled up with. */
  readonly padding: number;
  /** Longest sequence that the model was made for, where the tokenizer's files tell. */
  readonly maxLength?: number;
}

export interface TokenizeOptions {
  /** Longest sequence, start and end included. Longer texts lose their last pieces and keep their end. */
  readonly maxLength: number;
  /** @default "longest" */
  readonly padding?: "longest" | "max";
}

export interface TokenIds {
  /** `(N, T)`, padded at the end. */
  readonly ids: NdArray<"int32">;
  /** `(N, T)`: 1 for ids of the text, 0 for padding. */
  readonly mask: NdArray<"uint8">;
}

/**
 * Ids of several texts, cut and padded as transformers does with `truncation=True`.
 *
 * @throws AlignTokError `bad-input` for what is no list of strings, and for a `maxLength` that leaves no room for a
 *   token beside start and end.
 */
export function tokenize(
  tokenizer: TextTokenizer,
  texts: readonly string[],
  { maxLength, padding = "longest" }: TokenizeOptions,
): TokenIds {
  check(
    Array.isArray(texts),
    () =>
      `texts: expected a list of strings, got ${texts === null ? "null" : typeof texts}. put a single text into a list`,
  );
  const [leading, trailing] = tokenizer.ends;
  check(
    Number.isInteger(maxLength) && maxLength > leading + trailing,
    () =>
      `maxLength: expected a whole number above ${leading + trailing}, the start and end tokens, got ${maxLength}`,
  );
  const sequences = texts.map((text, i) => {
    check(typeof text === "string", () => `texts[${i}]: expected a string, got ${typeof text}`);
    const all = tokenizer.encode(text);
    if (all.length <= maxLength) return all;
    const cut = all.slice(0, maxLength);
    cut.set(all.subarray(all.length - trailing), maxLength - trailing);
    return cut;
  });
  const longest = sequences.reduce((most, { length }) => Math.max(most, length), 0);
  const width = padding === "max" ? maxLength : longest;
  const ids = zeros([texts.length, width], "int32");
  const mask = zeros([texts.length, width], "uint8");
  ids.data.fill(tokenizer.padding);
  for (const [i, sequence] of sequences.entries()) {
    ids.data.set(sequence, i * width);
    mask.data.fill(1, i * width, i * width + sequence.length);
  }
  return { ids, mask };
}
