import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { AlignTokError } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createTextTokenizer,
  loadTokenizer,
  type TextTokenizer,
  tokenize,
} from "../src/text/index.ts";
import { parseSentencePiece, sentencePieceTokenizer } from "../src/text/sentencepiece.ts";
import { createUnigram } from "../src/text/unigram.ts";
import { errorOf } from "./error-of.ts";
import { fixture } from "./images.ts";

const files = sharedData("text");
if (!files)
  console.warn(
    "skipped: CLIP's vocabulary and the SentencePiece models (../shared/data) are absent",
  );

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-tokenizers-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Texts whose ids differ, with both. */
function differences(
  tokenizer: TextTokenizer,
  texts: readonly string[],
  expected: readonly (readonly number[])[],
): unknown[] {
  return texts.flatMap((text, i) => {
    const ids = [...tokenizer.encode(text)];
    return ids.join() === expected[i]!.join() ? [] : [{ text, ids, expected: expected[i] }];
  });
}

async function readIds(name: string) {
  const text = await readFile(fixture(`tokenizers/${name}/ids.json`), "utf8");
  return JSON.parse(text) as { readonly texts: string[]; readonly ids: number[][] };
}

describe("ids are those of transformers and SentencePiece", () => {
  test.each([
    ["clip", "clip", "tokenizer.json of CLIPTokenizer"],
    ["clip-files", "clip", "vocab.json and merges.txt"],
    ["t5-fast", "t5-fast", "tokenizer.json of T5Tokenizer"],
    ["t5", "t5", "spiece.model with byte fallback and user-defined symbols"],
  ])("%s", async (name, golden) => {
    const { texts, ids } = await readIds(golden);
    expect(texts.length).toBeGreaterThan(100);
    expect(differences(await loadTokenizer(fixture(`tokenizers/${name}`)), texts, ids)).toEqual([]);
  });

  test("of special tokens in texts to a .model, too", async () => {
    const { texts, ids } = await readIds("t5-fast");
    await copyFile(fixture("tokenizers/t5-fast/spiece.model"), join(folder, "spiece.model"));
    await writeFile(join(folder, "tokenizer_config.json"), '{"extra_ids": 10}');
    const tokenizer = await loadTokenizer(folder);
    const spelled = texts.flatMap((text, i) => (/<\/s>|<extra_id/.test(text) ? [i] : []));
    expect(spelled.length).toBe(2);
    const pick = <T>(list: readonly T[]) => spelled.map((i) => list[i]!);
    expect(differences(tokenizer, pick(texts), pick(ids))).toEqual([]);
  });

  describe.skipIf(!files)("with the real vocabularies", async () => {
    const packed = await readFile(fixture("tokenizers/ids.json.gz"));
    const golden = JSON.parse(gunzipSync(packed).toString("utf8")) as {
      readonly texts: string[];
      readonly clip: number[][];
      readonly test_sentencepiece: number[][];
      readonly albert_spiece: number[][];
    };

    test("CLIP's", async () => {
      const tokenizer = await loadTokenizer(join(files!, "bpe_simple_vocab_16e6.txt.gz"));
      expect(golden.texts.length).toBeGreaterThan(400);
      expect(differences(tokenizer, golden.texts, golden.clip)).toEqual([]);
      expect(tokenizer).toMatchObject({ ends: [1, 1], padding: 49407 });
    });

    test("a SentencePiece model like T5's", async () => {
      const tokenizer = await loadTokenizer(join(files!, "test_sentencepiece.model"));
      const expected = golden.test_sentencepiece.map((ids) => [...ids, 2]);
      expect(differences(tokenizer, golden.texts, expected)).toEqual([]);
    });

    test("ALBERT's, with user-defined symbols", async () => {
      const model = parseSentencePiece(await readFile(join(files!, "albert_spiece.model")));
      const tokenizer = sentencePieceTokenizer({ ...model, end: 3 });
      const expected = golden.albert_spiece.map((ids) => [...ids, 3]);
      expect(differences(tokenizer, golden.texts, expected)).toEqual([]);
      expect(tokenizer.padding).toBe(0);
    });
  });
});

describe("tokenize", () => {
  test("pads, and cuts before the end token", async () => {
    const clip = await loadTokenizer(fixture("tokenizers/clip"));
    const [start, end] = [clip.encode("")[0]!, clip.encode("")[1]!];
    const { ids, mask } = tokenize(clip, ["a cat", "", "a cat and a dog and more of them"], {
      maxLength: 6,
    });
    expect(ids.shape).toEqual([3, 6]);
    const whole = clip.encode("a cat and a dog and more of them");
    expect([...ids.data.subarray(12)]).toEqual([...whole.subarray(0, 5), end]);
    expect([...ids.data.subarray(6, 12)]).toEqual([start, end, ...Array(4).fill(clip.padding)]);
    expect([...mask.data.subarray(6)]).toEqual([1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    const padded = tokenize(clip, ["a"], { maxLength: 9, padding: "max" });
    expect(padded.ids.shape).toEqual([1, 9]);
    expect(tokenize(clip, [""], { maxLength: 9 }).ids.shape).toEqual([1, 2]);
  });

  test("takes padding and the longest text from tokenizer_config.json", async () => {
    const name = "tokenizers/t5-fast/tokenizer.json";
    const path = join(folder, "configured");
    await mkdir(path);
    await copyFile(fixture(name), join(path, "tokenizer.json"));
    expect(await loadTokenizer(path)).toMatchObject({ padding: 0, ends: [0, 1] });
    expect((await loadTokenizer(path)).maxLength).toBeUndefined();
    await writeFile(
      join(path, "tokenizer_config.json"),
      '{"pad_token": {"content": "</s>"}, "model_max_length": 77}',
    );
    expect(await loadTokenizer(path)).toMatchObject({ padding: 1, maxLength: 77 });
    await writeFile(join(path, "tokenizer_config.json"), '{"pad_token": "nothing"}');
    expect((await errorOf(loadTokenizer(path))).message).toMatch(/pad_token.*got nothing/);
  });
});

describe("unigram", () => {
  const vocabulary = [
    ["<unk>", 0],
    ["a", -1],
    ["b", -1],
    ["ab", -1.5],
    ["<0xC3>", -9],
    ["<0xA9>", -9],
  ] as const;

  test("takes the best pieces, one unknown for a run, or bytes", () => {
    const options = { vocabulary, unknown: 0, sums: "float64" } as const;
    const plain = createUnigram({ ...options, usable: (id) => id > 0 });
    expect(plain.encode("abba")).toEqual(["ab", "b", "a"]);
    expect(plain.encode("a\u00e9\u{1f600}b\u00e9")).toEqual(["a", "<unk>", "b", "<unk>"]);
    expect(plain.encode("")).toEqual([]);
    const bytes = createUnigram({ ...options, usable: (id) => id > 0, byteFallback: true });
    expect(bytes.encode("\u00e9a\u{1f600}")).toEqual(["<0xC3>", "<0xA9>", "a", "<unk>"]);
    expect(() => createUnigram({ ...options, unknown: 9 })).toThrow(
      /unk_id: expected one of 6 pieces, got 9/,
    );
  });
});

describe("files that are no tokenizers", () => {
  test("are told apart by their contents", async () => {
    expect((await errorOf(loadTokenizer(join(folder, "absent")))).code).toBe("not-found");
    const empty = await mkdtemp(join(folder, "empty-"));
    expect((await errorOf(loadTokenizer(empty))).message).toMatch(
      /one of tokenizer\.json, vocab\.json/,
    );
    const path = join(folder, "file");
    const write = async (bytes: string | Uint8Array) => {
      await writeFile(path, bytes);
      return errorOf(loadTokenizer(path));
    };
    expect(await write("{")).toMatchObject({ code: "bad-format" });
    expect(await write('{"model": {"type": "Unknown"}}')).toMatchObject({ code: "unsupported" });
    expect(await write('{"model": {"type": "Unigram", "vocab": [1]}}')).toMatchObject({
      code: "bad-input",
    });
    expect(
      await write('{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 4}}'),
    ).toMatchObject({ code: "bad-format" });
    expect((await write(gzipSync("#version\na b\n"))).message).toMatch(
      /at least 48894 merges, got 1/,
    );
    expect((await write(gzipSync("a b c"))).message).toMatch(/two pieces a line, got "a b c"/);
    expect((await write(Uint8Array.of(0x1f, 0x8b, 1))).message).toMatch(/do not unpack/);
    expect((await write(Uint8Array.of(10, 200))).code).toBe("bad-format");
    expect((await write("")).message).toMatch(/expected pieces, got none/);
    expect(() => createTextTokenizer({ model: {} }, { padToken: "a" })).toThrow(AlignTokError);
  });

  test("a SentencePiece model of another kind is refused", async () => {
    const bytes = await readFile(fixture("tokenizers/t5/spiece.model"));
    const bpe = Buffer.concat([bytes, Uint8Array.of(0x12, 2, 0x18, 2)]); // another trainer_spec, which counts: model_type 2
    expect(() => parseSentencePiece(bpe)).toThrow(/unigram model \(1\).*got model type 2/);
  });

  test("damage never ends in anything but our errors", async () => {
    const model = await readFile(fixture("tokenizers/t5/spiece.model"));
    const attempt = (bytes: Uint8Array) => {
      try {
        sentencePieceTokenizer(parseSentencePiece(bytes)).encode("a caf\u00e9 -- \u00c5\u0301");
      } catch (error) {
        expect(AlignTokError.isInstance(error), String(error)).toBe(true);
      }
    };
    const change = fc.tuple(fc.nat(model.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 8 }),
        fc.nat(model.length),
        (changes, length) => {
          const bytes = Uint8Array.from(model);
          for (const [at, value] of changes) bytes[at] = value;
          attempt(bytes);
          attempt(bytes.subarray(0, length));
        },
      ),
      { numRuns: 40 },
    );
  });
});
