/** Kudo's unigram language model: the segmentation of a text into pieces whose scores add up to the most. */
import { AlignTokError, check } from "@aligntok/core";

/** What cuts a text into pieces of a vocabulary. */
export interface PieceModel {
  readonly ids: ReadonlyMap<string, number>;
  readonly unknown: number;
  encode(text: string): string[];
}

export interface UnigramOptions {
  /** Pieces with their logarithmic probabilities, by id. */
  readonly vocabulary: readonly (readonly [piece: string, score: number])[];
  /** Id of the piece that stands for characters of no other. */
  readonly unknown: number;
  /** Whether characters of no piece become their UTF-8 bytes, `<0xE2>`, where the vocabulary has these. @default false */
  readonly byteFallback?: boolean;
  /** Ids that texts can become; others, such as control symbols, cannot be written. @default all */
  readonly usable?: (id: number) => boolean;
  /** Ids that are taken wherever they fit. @default none */
  readonly userDefined?: (id: number) => boolean;
  /** Of the sums: SentencePiece's float32, or Hugging Face's float64, which can differ where two are nearly equal. */
  readonly sums: "float32" | "float64";
}

const unknownPenalty = 10;

/**
 * Viterbi's algorithm over characters, like SentencePiece's and the Unigram of Hugging Face's tokenizers.
 *
 * @throws AlignTokError `bad-format` for an unknown piece that is not in the vocabulary.
 */
export function createUnigram({
  vocabulary,
  unknown,
  byteFallback = false,
  usable = () => true,
  userDefined = () => false,
  sums,
}: UnigramOptions): PieceModel {
  const unknownPiece = vocabulary[unknown]?.[0];
  if (unknownPiece === undefined) {
    throw new AlignTokError(
      "bad-format",
      `unigram unk_id: expected one of ${vocabulary.length} pieces, got ${unknown}`,
    );
  }
  const ids = new Map(vocabulary.map(([piece], id) => [piece, id]));
  // every beginning of a piece is a key, so that a search ends early; -1 where it is no piece itself
  const beginnings = new Map<string, number>();
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [id, [piece, score]] of vocabulary.entries()) {
    if (!usable(id) || !piece) continue;
    for (let end = 1; end < piece.length; end++) {
      const beginning = piece.slice(0, end);
      if (!beginnings.has(beginning)) beginnings.set(beginning, -1);
    }
    beginnings.set(piece, id);
    if (userDefined(id)) continue;
    least = Math.min(least, score);
    most = Math.max(most, score);
  }
  check(least <= most, "unigram vocabulary: expected at least one piece, got none");

  function scoreOf(id: number): number {
    const [piece, score] = vocabulary[id]!;
    return userDefined(id) ? Buffer.byteLength(piece) * most - 0.1 : score;
  }

  function encode(text: string): string[] {
    const n = text.length;
    const best = sums === "float32" ? new Float32Array(n + 1) : new Float64Array(n + 1);
    const start = new Int32Array(n + 1).fill(-1);
    const known = new Uint8Array(n + 1); // whether the best piece that ends here is in the vocabulary

    function offer(from: number, to: number, score: number, isKnown: boolean): void {
      const sum = best[from]! + score;
      if (start[to] !== -1 && !(sum > best[to]!)) return;
      best[to] = sum;
      start[to] = from;
      known[to] = isKnown ? 1 : 0;
    }

    for (let at = 0; at < n; ) {
      const width = text.codePointAt(at)! > 0xffff ? 2 : 1;
      let single = false;
      for (let end = at + 1; end <= n; end++) {
        const id = beginnings.get(text.slice(at, end));
        if (id === undefined) break;
        if (id < 0) continue;
        offer(at, end, scoreOf(id), true);
        single ||= end - at === width;
      }
      if (!single) offer(at, at + width, least - unknownPenalty, false);
      at += width;
    }

    const pieces: string[] = [];
    let isUnknown = false;
    for (let end = n; end > 0; end = start[end]!) {
      const wasUnknown = isUnknown;
      isUnknown = !known[end];
      const piece = text.slice(start[end], end);
      if (!isUnknown) pieces.push(piece);
      else if (byteFallback && bytesOf(piece).every((byte) => ids.has(byte)))
        pieces.push(...bytesOf(piece).reverse());
      else if (!wasUnknown || pieces.at(-1) !== unknownPiece) pieces.push(unknownPiece!); // one for a run
    }
    return pieces.reverse();
  }

  return { ids, unknown, encode };
}

function bytesOf(piece: string): string[] {
  return [...Buffer.from(piece, "utf8")].map(
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
}
