import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, type NdArray, ndarray, rows, type Tokenizer, zeros } from "@aligntok/core";
import { initViT, type ViTConfig } from "@aligntok/encoders";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AlignedTokenizer,
  createTokenizer,
  fitTokenizer,
  type Interpolation,
  initTokenizer,
  loadTokenizer,
  loadTrainedStage,
  saveTokenizer,
} from "../src/index.ts";
import {
  tokenizer as config,
  decoder,
  encoder,
  parts,
  readGolden,
  relativeError,
} from "./golden.ts";

const weights = await readGolden("weights");
const forward = await readGolden("forward");
const parameters = parts(weights, ["encoder", "adapter", "post_quant_conv", "decoder"]);
const stats = { mean: Float32Array.of(1, 2, 3, 4), std: Float32Array.of(5, 6, 7, 8) };

const random = createRandom(0, "images");
const images = zeros([5, 16, 24, 3], "uint8");
images.data.forEach((_, i) => {
  images.data[i] = random.integer(256);
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenizer-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("createTokenizer", () => {
  it("decodes the golden latents to PyTorch's image, as bytes", async () => {
    const tokenizer: Tokenizer = createTokenizer({ config, parameters });
    expect(tokenizer.latentShape(16, 24)).toEqual([4, 6, 4]);
    const latents = { ...forward.latents!, shape: [2, 4, 4, 4] };
    const decoded = await tokenizer.decode(latents);
    expect(decoded.shape).toEqual([2, 16, 16, 3]);
    for (let i = 0; i < decoded.data.length; i++) {
      const [c, p, n] = [i % 3, Math.floor(i / 3) % 256, Math.floor(i / 768)];
      const expected = (forward.image!.data[(n * 3 + c) * 256 + p]! + 1) * 127.5;
      const clipped = Math.min(255, Math.max(0, expected));
      expect(Math.abs(decoded.data[i]! - clipped)).toBeLessThanOrEqual(0.501);
    }
    tokenizer.dispose();
  });

  it("gives the same latents in batches of any size, at a size it was not trained on", async () => {
    const results: NdArray<"float32">[] = [];
    for (const batchSize of [1, 4, 8]) {
      const tokenizer = createTokenizer({ config, parameters }, { batchSize });
      results.push(await tokenizer.encode(images));
      tokenizer.dispose();
    }
    expect(results[0]!.shape).toEqual([5, 4, 6, 4]);
    for (const other of results.slice(1))
      expect(relativeError(other.data, results[0]!)).toBeLessThan(1e-5);
    expect(relativeError(rows(results[0]!, 0, 1).data, rows(results[0]!, 1, 2))).toBeGreaterThan(
      0.01,
    );
  });

  it("refuses sizes and latents that do not fit", async () => {
    const tokenizer = createTokenizer({ config, parameters });
    await expect(tokenizer.encode(zeros([1, 10, 16, 3], "uint8"))).rejects.toThrow(
      /image size: expected multiples of 4, got 10x16/,
    );
    await expect(tokenizer.decode(zeros([1, 4, 4, 3]))).rejects.toThrow(
      /latents: expected \(N, h, w, 4\), got \[1,4,4,3\]/,
    );
  });
});

describe("initTokenizer", () => {
  it("fits the encoder to the training size and drops its classifier", () => {
    const big = { ...encoder, imageSize: 32, classes: 3 };
    const vit = { config: big, parameters: initViT(big, createRandom(1, "vit")) };
    const made = initTokenizer(
      { encoder: vit, decoder, random: createRandom(2, "tokenizer") },
      { imageSize: 24, adapter: { hidden: 6 } },
    );
    expect(made.config.encoder).toMatchObject({ imageSize: 24, classes: 0 });
    expect(made.parameters["encoder.pos_embed"]!.shape).toEqual([1, 37, 8]);
    expect(made.parameters["encoder.head.weight"]).toBeUndefined();
    expect(made.parameters["adapter.fc1.weight"]!.shape).toEqual([6, 8]);
  });
});

describe("what an encoder is given", () => {
  const begin = (more: Partial<ViTConfig> = {}, interpolation?: Interpolation) => {
    const vit = { ...encoder, imageSize: 12, patchSize: 3, ...more }; // of a stride of 4
    return initTokenizer(
      {
        encoder: { config: vit, parameters: initViT(vit, createRandom(1, "vit")) },
        decoder,
        random: createRandom(2, "tokenizer"),
      },
      { imageSize: 16, ...(interpolation && { interpolation }) },
    );
  };
  const featuresOf = async (tokenizer: AlignedTokenizer) => {
    const features = await tokenizer.features(images);
    tokenizer.dispose();
    return features;
  };

  it.each([
    ["mean", begin({ mean: [0.1, 0.2, 0.3] })],
    ["std", begin({ std: [0.4, 0.6, 0.7] })],
    ["interpolation", begin({}, "bicubic")],
  ])("follows %s, which its folder keeps", async (_, made) => {
    const own = await featuresOf(createTokenizer(made));
    const ordinary = await featuresOf(createTokenizer(begin()));
    expect(relativeError(own.data, ordinary)).toBeGreaterThan(1e-3);
    await saveTokenizer(folder, made);
    const loaded = await loadTokenizer(folder);
    expect(loaded.config).toEqual(made.config);
    expect(await featuresOf(loaded)).toEqual(own);
  });

  it("is bilinear in folders that do not say", async () => {
    await saveTokenizer(folder, begin());
    const path = join(folder, "config.json");
    const { interpolation, ...json } = JSON.parse(await readFile(path, "utf8"));
    expect(interpolation).toBe("bilinear");
    await writeFile(path, JSON.stringify(json));
    const loaded = await loadTokenizer(folder);
    expect(await featuresOf(loaded)).toEqual(await featuresOf(createTokenizer(begin())));
    await writeFile(path, JSON.stringify({ ...json, interpolation: "nearest" }));
    await expect(loadTokenizer(folder)).rejects.toThrow(
      /config interpolation: expected bilinear or bicubic, got "nearest"/,
    );
  });
});

describe("fitTokenizer", () => {
  it("is the same tokenizer, for training at another size", async () => {
    const fitted = fitTokenizer({ config, parameters, stats }, [16, 24]);
    expect(fitted.config.encoder.imageSize).toEqual([16, 24]);
    expect(fitted.parameters["encoder.pos_embed"]!.shape).toEqual([1, 25, 8]);
    const [one, other] = [createTokenizer({ config, parameters }), createTokenizer(fitted)];
    expect(await other.encode(images)).toEqual(await one.encode(images));
    one.dispose();
    other.dispose();
  });
});

describe("tokenizer folders", () => {
  it("come back as they were saved", async () => {
    await saveTokenizer(folder, { config, parameters, stats });
    const loaded = await loadTokenizer(folder);
    expect(loaded.config).toEqual(config);
    expect(loaded.parameters).toEqual(parameters);
    expect(loaded.stats).toEqual(stats);
    loaded.dispose();
  });

  it("hold the discriminator of a trained stage apart, and lose it with the next tokenizer", async () => {
    const discriminator = { "main.0.weight": rows(weights["adapter.fc1.weight"]!, 0, 2) };
    await saveTokenizer(folder, { config, parameters, stats, discriminator });
    expect(await loadTrainedStage(folder)).toEqual({ config, parameters, stats, discriminator });
    (await loadTokenizer(folder)).dispose();
    await saveTokenizer(folder, { config, parameters });
    expect(await loadTrainedStage(folder)).toEqual({ config, parameters, stats: undefined });
  });

  it("may lack the convolution on the latent", async () => {
    const identity = {
      "post_quant_conv.weight": ndarray(
        Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
        [4, 4, 1, 1],
      ),
      "post_quant_conv.bias": zeros([4]),
    };
    const bare = {
      config: { encoder, decoder: { ...decoder, postQuantConv: false } },
      parameters: parts(parameters, ["encoder", "adapter", "decoder"]),
    };
    await saveTokenizer(folder, bare);
    const loaded = await loadTokenizer(folder);
    expect(loaded.config).toEqual(bare.config);
    const mixing = createTokenizer({ config, parameters: { ...parameters, ...identity } });
    const latents = await loaded.encode(images);
    const [own, expected] = [await loaded.decode(latents), await mixing.decode(latents)];
    for (const [i, x] of own.data.entries())
      expect(Math.abs(x - expected.data[i]!)).toBeLessThan(2);
    loaded.dispose();
    mixing.dispose();
  });

  it("may lack statistics", async () => {
    await saveTokenizer(folder, { config, parameters });
    expect((await loadTokenizer(folder)).stats).toBeUndefined();
  });

  it("say what is wrong with them", async () => {
    await expect(loadTokenizer(join(folder, "absent"))).rejects.toMatchObject({
      code: "not-found",
    });
    await saveTokenizer(folder, { config, parameters });
    const file = join(folder, "model.safetensors");
    const { tensors } = await readSafetensors(file);
    const { "adapter.fc1.bias": bias, ...rest } = tensors;
    await writeSafetensors(file, rest);
    await expect(loadTokenizer(folder)).rejects.toThrow(/got 1 missing: adapter\.fc1\.bias/);
    await writeSafetensors(file, { ...tensors, "adapter.fc3.bias": bias! });
    await expect(loadTokenizer(folder)).rejects.toThrow(/got 1 unknown: adapter\.fc3\.bias/);
    await writeSafetensors(file, { ...tensors, "adapter.fc1.bias": zeros([9]) });
    await expect(loadTokenizer(folder)).rejects.toThrow(/of another shape: adapter\.fc1\.bias/);

    const path = join(folder, "config.json");
    const json = JSON.parse(await readFile(path, "utf8"));
    const broken = { ...json, decoder: { ...json.decoder, ch_mult: [1, 1e9] } };
    await writeFile(path, JSON.stringify(broken));
    await expect(loadTokenizer(folder)).rejects.toThrow(
      /config decoder ch_mult: expected a whole number/,
    );
    await writeFile(path, "{");
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: "bad-format" });
  });
});
