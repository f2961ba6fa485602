import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint, readSafetensors } from "@aligntok/checkpoint";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import { afterAll, describe, expect, test } from "vitest";
import {
  bindTextEncoder,
  clipTextModels,
  clipTextShapes,
  createTextEncoder,
  describeTextCheckpoint,
  type LoadedTextEncoder,
  loadTextEncoder,
  parseTextConfig,
  renameTextTensors,
  type TextConfig,
  type TextTokenizer,
  type TokenIds,
  t5Models,
  t5Shapes,
  textParameters,
} from "../src/text/index.ts";
import { fixture, largestDifference } from "./images.ts";

/** Characters are ids from 3 on; 38 begins a text, 39 ends it, 0 pads it. */
const tokenizer: TextTokenizer = {
  encode: (text) =>
    Int32Array.from([38, ...Array.from(text, (c) => 3 + (c.codePointAt(0)! % 35)), 39]),
  ends: [1, 1],
  padding: 0,
};

const open: LoadedTextEncoder[] = [];
function keep(encoder: LoadedTextEncoder): LoadedTextEncoder {
  open.push(encoder);
  return encoder;
}
const copies: string[] = [];
afterAll(async () => {
  for (const encoder of open) encoder.dispose();
  for (const folder of copies) await rm(folder, { recursive: true });
});

describe.each([
  "clip-projection",
  "clip-text",
  "clip-whole",
  "clip-whole/openai.safetensors",
  "t5-gated",
  "t5-relu",
])("%s", async (name) => {
  const folder = name.split("/")[0];
  const { tensors } = await readSafetensors(fixture(`${folder}/golden.safetensors`));
  const tags = Object.keys(tensors).filter((key) => key.startsWith("ids/"));
  const of = (key: string) => tensors[key]?.data as Float32Array | undefined;

  test.each(tags.map((key) => key.slice("ids/".length)))(
    "agrees with transformers at %s",
    async (tag) => {
      const encoder = keep(await load(name));
      const input = {
        ids: tensors[`ids/${tag}`] as NdArray<"int32">,
        mask: tensors[`mask/${tag}`] as NdArray<"uint8">,
      };
      let compared = 0;
      for (const kind of ["bare", "masked"]) {
        const attendPadding = kind === "bare";
        const last = await encoder.encodeIds(input, { attendPadding });
        for (const part of ["tokens", "pooled", "embedding"] as const) {
          const expected = of(`${part}/${kind}/${tag}`);
          if (kind === "bare" && name === "t5-relu") continue; // not among the goldens, for they are large
          if (!expected) continue;
          expect(largestDifference(last[part]!.data, expected), `${part} ${kind}`).toBeLessThan(
            2e-4,
          );
          compared++;
        }
        for (let layer = 0; of(`hidden${layer}/${kind}/${tag}`); layer++) {
          const options = { attendPadding, norm: false };
          const hidden = await encoder.encodeIds(input, { ...options, layer });
          const expected = of(`hidden${layer}/${kind}/${tag}`)!;
          expect(largestDifference(hidden.tokens.data, expected), `hidden ${layer}`).toBeLessThan(
            2e-4,
          );
          const fromEnd = await encoder.encodeIds(input, {
            ...options,
            layer: layer - encoder.config.depth,
          });
          expect(fromEnd.tokens.data).toEqual(hidden.tokens.data);
        }
      }
      expect(compared).toBeGreaterThan(0);
      const { config } = encoder;
      const embeds = config.family === "clip" && config.embeddingWidth > 0;
      expect(embeds).toBe(of(`embedding/bare/${tag}`) !== undefined);
    },
  );
});

/** A fixture; a lone file of weights is given the configuration beside it. */
async function load(name: string): Promise<LoadedTextEncoder> {
  const [folder, file] = name.split("/");
  if (!file) return loadTextEncoder(fixture(name), { tokenizer });
  const copy = await mkdtemp(join(tmpdir(), "aligntok-text-"));
  copies.push(copy);
  await copyFile(fixture(name), join(copy, "model.safetensors"));
  await copyFile(fixture(`${folder}/config.json`), join(copy, "config.json"));
  return loadTextEncoder(copy, { tokenizer });
}

test("sizes of the models are the published ones", () => {
  const millions = (shapes: ReturnType<typeof t5Shapes>) =>
    Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0) / 1e6;
  expect(millions(clipTextShapes(clipTextModels.clip_vit_b_32))).toBeCloseTo(63.43, 2);
  expect(millions(clipTextShapes(clipTextModels.clip_vit_l_14))).toBeCloseTo(123.65, 2);
  expect(millions(t5Shapes(t5Models.t5_v1_1_small))).toBeCloseTo(35.33, 2);
  expect(millions(t5Shapes(t5Models.t5_v1_1_xxl))).toBeCloseTo(4762.31, 2);
});

describe("configurations", () => {
  test("are told by the tensors alone, in OpenAI's and in transformers' names", async () => {
    const { tensors } = await openCheckpoint(fixture("t5-gated"));
    const renamed = renameTextTensors(tensors);
    const json = { model_type: "t5", feed_forward_proj: "gated-gelu" };
    const sizes = { vocab_size: 40, d_model: 16, d_kv: 6, d_ff: 20, num_layers: 3, num_heads: 2 };
    const config = parseTextConfig({ ...json, ...sizes });
    expect(describeTextCheckpoint(renamed)).toEqual(config);
    expect(() => textParameters(config, { ...renamed, more: renamed["shared.weight"]! })).toThrow(
      /1 unknown \(more\)/,
    );
    for (const model of [clipTextModels.clip_vit_b_32, clipTextModels.clip_vit_l_14]) {
      const shapes = Object.fromEntries(
        Object.entries(clipTextShapes(model)).map(([name, shape]) => [name, { shape }]),
      );
      expect(describeTextCheckpoint(shapes)).toEqual(model);
    }
    expect(() => describeTextCheckpoint({})).toThrow(/tensors of CLIP or of T5, got 0 without/);
  });

  test("of the models on the Hub", () => {
    const clip = { hidden_size: 768, num_attention_heads: 12, intermediate_size: 3072 };
    const whole = {
      model_type: "clip",
      projection_dim: 768,
      text_config: { ...clip, eos_token_id: 2 },
    };
    expect(parseTextConfig(whole)).toEqual({ ...clipTextModels.clip_vit_l_14, endToken: 2 });
    const xxl = { d_model: 4096, d_ff: 10240, num_heads: 64, num_layers: 24, d_kv: 64 };
    const t5 = { model_type: "t5", feed_forward_proj: "gated-gelu", vocab_size: 32128, ...xxl };
    expect(parseTextConfig(t5)).toEqual(t5Models.t5_v1_1_xxl);
    expect(() => parseTextConfig({ model_type: "bert" })).toThrow(/model_type.*got bert/);
    expect(() => parseTextConfig({ ...t5, feed_forward_proj: "gated-silu" })).toThrow(
      /got gated-silu/,
    );
    expect(() => parseTextConfig({ model_type: "clip" })).toThrow(
      /text_config: expected an object/,
    );
    expect(() => parseTextConfig({ model_type: "clip_text_model", hidden_act: "x" })).toThrow(
      /got x/,
    );
    expect(() =>
      parseTextConfig({ ...whole, text_config: { ...clip, num_attention_heads: 7 } }),
    ).toThrow(/width 768, 7 heads/);
  });
});

describe("texts", () => {
  const clip: TextConfig = {
    ...clipTextModels.clip_vit_b_32,
    vocabulary: 40,
    positions: 20,
    width: 16,
    heads: 2,
    depth: 2,
    hiddenWidth: 24,
    embeddingWidth: 6,
    endToken: 39,
  };
  const t5: TextConfig = {
    ...t5Models.t5_v1_1_small,
    vocabulary: 40,
    width: 16,
    heads: 2,
    headWidth: 8,
    depth: 2,
    hiddenWidth: 24,
  };
  const texts = ["a", "blue cat", "", "two dogs", "x", "and one more", "zz"];

  test.each([clip, t5])("$family: padding and batches change nothing", async (config) => {
    const encoder = keep(
      createTextEncoder(config, createRandom(3, "weights"), { tokenizer, batchSize: 4 }),
    );
    const all = await encoder.encode(texts);
    expect(all.tokens.shape).toEqual([7, 14, 16]);
    expect([...all.mask.data.subarray(0, 14)]).toEqual([1, 1, 1, ...Array(11).fill(0)]);
    const long = await encoder.encode(texts, { padding: "max", maxLength: 20 });
    expect(long.tokens.shape).toEqual([7, 20, 16]);
    for (const [i, text] of texts.entries()) {
      const alone = await encoder.encode([text]);
      const length = text.length + 2;
      expect(alone.tokens.shape).toEqual([1, length, 16]);
      for (const many of [all, long]) {
        const width = many.tokens.shape[1]! * 16;
        const row = many.tokens.data.subarray(i * width, i * width + length * 16);
        expect(largestDifference(row, alone.tokens.data)).toBeLessThan(1e-5);
      }
    }
    if (config.family === "clip") {
      expect(all.pooled?.shape).toEqual([7, 16]);
      expect(all.embedding?.shape).toEqual([7, 6]);
      const end = all.tokens.data.subarray(2 * 16, 3 * 16); // of "a", between a start and padding
      expect(largestDifference(all.pooled!.data.subarray(0, 16), end)).toBeLessThan(1e-6);
      await expect(encoder.encode(["a"], { padding: "max", maxLength: 21 })).rejects.toThrow(
        /at most 20, the positions of the model, got 21/,
      );
    } else {
      expect(all.pooled).toBeUndefined();
      const seen = await encoder.encode(texts, { attendPadding: true });
      expect(largestDifference(seen.tokens.data, all.tokens.data)).toBeGreaterThan(0.01);
    }
    expect((await encoder.encode([])).tokens.shape).toEqual([0, 0, 16]);
  });

  test("are cut and keep their end", async () => {
    const encoder = keep(createTextEncoder(clip, createRandom(3, "weights"), { tokenizer }));
    const cut = await encoder.encode(["abcdefgh"], { maxLength: 5 });
    const same = await encoder.encode(["abc"]);
    expect(cut).toEqual(same);
    await expect(encoder.encode(["abc"], { maxLength: 2 })).rejects.toThrow(
      /above 2, the start and/,
    );
    await expect(encoder.encode([3 as never])).rejects.toThrow(
      /texts\[0\]: expected a string, got number/,
    );
    await expect(encoder.encode("a cat" as never)).rejects.toMatchObject({
      code: "bad-input",
      message: "texts: expected a list of strings, got string. put a single text into a list",
    });
  });

  test("that the model cannot take are refused", async () => {
    const encoder = keep(createTextEncoder(t5, createRandom(3, "weights"), { tokenizer }));
    const input = (ids: number[], mask: number[]): TokenIds => ({
      ids: ndarray(Int32Array.from(ids), [1, ids.length], "int32"),
      mask: ndarray(Uint8Array.from(mask), [1, mask.length], "uint8"),
    });
    await expect(encoder.encodeIds(input([1, 40], [1, 1]))).rejects.toThrow(/0 to 39, got 40/);
    await expect(encoder.encodeIds(input([1, 2], [1]))).rejects.toThrow(/\[1,2\] and \[1,1\]/);
    await expect(encoder.encodeIds(input([1, 2], [0, 1]))).rejects.toThrow(/pad at the end/);
    await expect(encoder.encode(["a"], { layer: 2 })).rejects.toThrow(/from -2 to 1, got 2/);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(encoder.encode(["a"], { signal })).rejects.toMatchObject({
      code: "aborted",
      cause: new Error("enough"),
    });
    const { config, parameters } = encoder;
    const precision = "int4" as "int8";
    expect(() => bindTextEncoder({ config, parameters, tokenizer }, { precision })).toThrow(
      /precision: expected float32, int8, bfloat16, got int4/,
    );
  });

  test("in int8 are nearly the same", async () => {
    const wide = { ...t5, width: 64, headWidth: 32, hiddenWidth: 128 };
    const exact = keep(createTextEncoder(wide, createRandom(3, "weights"), { tokenizer }));
    const { config, parameters } = exact;
    const int8 = keep(bindTextEncoder({ config, parameters, tokenizer }, { precision: "int8" }));
    const [a, b] = [await exact.encode(texts), await int8.encode(texts)];
    const difference = largestDifference(a.tokens.data, b.tokens.data);
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(0.2);
  });
});
