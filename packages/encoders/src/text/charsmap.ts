/**
 * The compiled character map of SentencePiece normalisers (`precompiled_charsmap`: NFKC and what a model adds to it).
 *
 * Layout, as google/sentencepiece writes it: uint32 size of the trie in bytes, the trie (a double array of darts-clone,
 * uint32 each, little-endian), then the replacements, each ended by a zero byte. Values of the trie are their places.
 */
import { AlignTokError } from "@aligntok/core";

export interface Charsmap {
  /** What the bytes from `start` on are replaced by: by the longest sequence that has a replacement, or the shortest. */
  match(
    bytes: Uint8Array,
    start: number,
    which: "longest" | "shortest",
  ): { readonly length: number; readonly text: string } | undefined;
}

/** @throws AlignTokError `bad-format` for sizes that do not fit the number of bytes. */
export function parseCharsmap(blob: Uint8Array): Charsmap {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const size = blob.length >= 4 ? view.getUint32(0, true) : 0;
  if (size % 4 !== 0 || size < 4 || 4 + size > blob.length) {
    throw new AlignTokError(
      "bad-format",
      `charsmap: expected the size of its trie and the trie, got ${size} in ${blob.length} bytes. the tokenizer's file is damaged`,
    );
  }
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = Buffer.from(blob.subarray(4 + size));

  function replacement(at: number): string {
    const end = replacements.indexOf(0, at);
    return replacements.toString("utf8", at, end < 0 ? replacements.length : end);
  }

  return {
    match(bytes, start, which) {
      let node = offsetOf(units[0]!);
      let [length, value] = [0, 0];
      for (let i = start; i < bytes.length; i++) {
        node ^= bytes[i]!;
        const unit = units[node];
        if (unit === undefined || labelOf(unit) !== bytes[i]) break;
        node ^= offsetOf(unit);
        if (!hasLeaf(unit)) continue;
        [length, value] = [i + 1 - start, (units[node] ?? 0) & 0x7fff_ffff];
        if (which === "shortest") break;
      }
      return length ? { length, text: replacement(value) } : undefined;
    },
  };
}

function hasLeaf(unit: number): boolean {
  return (unit & 0x100) !== 0;
}

/** The byte that leads to a unit; values have the highest bit and so are no byte. */
function labelOf(unit: number): number {
  return (unit & 0x8000_00ff) >>> 0;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

/** As SentencePiece applies it: from left to right the longest sequences; characters without replacement stay. */
export function replaceLongest(charsmap: Charsmap, text: string): string {
  const bytes = Buffer.from(text, "utf8");
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const found = charsmap.match(bytes, at, "longest");
    const length = found?.length ?? characterLength(bytes[at]!);
    parts.push(found?.text ?? bytes.toString("utf8", at, at + length));
    at += length;
  }
  return parts.join("");
}

const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });

/**
 * As Hugging Face's tokenizers apply it: short graphemes whole, by the shortest sequence that they begin with, other
 * graphemes character by character. Differs from SentencePiece for characters with several marks.
 */
export function replaceGraphemes(charsmap: Charsmap, text: string): string {
  const parts: string[] = [];
  for (const { segment } of graphemes.segment(text)) {
    const bytes = Buffer.from(segment, "utf8");
    const whole = bytes.length < 6 ? charsmap.match(bytes, 0, "shortest") : undefined;
    if (whole) {
      parts.push(whole.text);
      continue;
    }
    for (const character of segment) {
      parts.push(charsmap.match(Buffer.from(character, "utf8"), 0, "shortest")?.text ?? character);
    }
  }
  return parts.join("");
}

/** Bytes of the UTF-8 character that begins with this one. */
function characterLength(first: number): number {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
