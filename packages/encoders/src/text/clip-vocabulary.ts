/** CLIP's byte-pair vocabulary as the `tokenizer.json` that transformers makes of it. */
import { AlignTokError, check } from "@aligntok/core";

const start = "<|startoftext|>";
const end = "<|endoftext|>";

/** `bpe_simple_vocab_16e6.txt` lists more merges than the model has ids for: 49408 less 2 times 256 bytes and 2 ends. */
const merges16e6 = 49_152 - 256 - 2;

/**
 * From the text of OpenAI's `bpe_simple_vocab_16e6.txt`.
 *
 * @throws AlignTokError `bad-format` for a file with fewer merges.
 */
export function clipTokenizerJson(text: string): object {
  const merges = readMerges(text).slice(0, merges16e6);
  if (merges.length < merges16e6) {
    throw new AlignTokError(
      "bad-format",
      `bpe_simple_vocab: expected at least ${merges16e6} merges, got ${merges.length}`,
    );
  }
  const bytes = byteCharacters();
  const tokens = [
    ...bytes,
    ...bytes.map((byte) => `${byte}</w>`),
    ...merges.map((pair) => pair.join("")),
    start,
    end,
  ];
  return describe(Object.fromEntries(tokens.map((token, id) => [token, id])), merges);
}

/** From `vocab.json` and `merges.txt`, which older Hugging Face folders have. */
export function clipTokenizerJsonOf(vocabulary: unknown, merges: string): object {
  check(
    typeof vocabulary === "object" &&
      vocabulary !== null &&
      start in vocabulary &&
      end in vocabulary,
    `vocab.json: expected CLIP's, with ${start} and ${end}, got another vocabulary`,
  );
  return describe(vocabulary as Readonly<Record<string, number>>, readMerges(merges));
}

function readMerges(text: string): string[][] {
  const lines = text.split("\n").filter((line) => line && !line.includes("#version"));
  const merges = lines.map((line) => line.trim().split(" "));
  const wrong = merges.findIndex((pair) => pair.length !== 2);
  if (wrong >= 0) {
    throw new AlignTokError(
      "bad-format",
      `merges: expected two pieces a line, got ${JSON.stringify(lines[wrong]!.slice(0, 40))}`,
    );
  }
  return merges;
}

/** A visible character for each byte: the printable ones of Latin-1 first, then the others from U+0100 on. */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173);
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  const others = all.filter((byte) => !printable(byte)).map((_, i) => 256 + i);
  return [...all.filter(printable), ...others].map((code) => String.fromCodePoint(code));
}

function describe(vocab: Readonly<Record<string, number>>, merges: readonly string[][]): object {
  const special = (content: string) => ({ id: vocab[content], content, special: true });
  const pattern =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
  return {
    added_tokens: [special(start), special(end)],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
        { type: "Lowercase" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: false },
      ],
    },
    post_processor: {
      type: "RobertaProcessing",
      sep: [end, vocab[end]],
      cls: [start, vocab[start]],
    },
    model: { type: "BPE", vocab, merges, unk_token: end, end_of_word_suffix: "</w>" },
  };
}
