/** Every family of encoders as the encoder of a tokenizer. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Images, type PixelSize, zeros } from "@aligntok/core";
import {
  bindEncoder,
  initViT,
  patchGrid,
  type ViTConfig,
  type ViTModel,
  vitModels,
} from "@aligntok/encoders";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFeaturePerceptual,
  createTokenizer,
  initTokenizer,
  loadTokenizer,
  saveTokenizer,
  trainStage,
} from "../src/index.ts";
import { relativeError, decoder as smallDecoder, under } from "./golden.ts";

/** Of stride 16, the paper's. */
const decoder = { ...smallDecoder, multipliers: [1, 1, 2], pixelShuffle: 4 };

function tiny(model: ViTModel, grid: number): ViTConfig {
  const config: ViTConfig = vitModels[model];
  const width = 16;
  return {
    ...config,
    imageSize: grid * config.patchSize,
    width,
    depth: 2,
    heads: 2,
    hiddenWidth: 24,
    embeddingWidth: config.embedding === "none" ? 0 : width,
    classes: config.classes && 3,
  };
}

function randomImages(n: number, height: number, width: number): Images {
  const random = createRandom(0, "images");
  const images = zeros([n, height, width, 3], "uint8");
  images.data.forEach((_, i) => {
    images.data[i] = random.integer(256);
  });
  return images;
}

/** One colour for each image, which no resizing changes. */
function plainImages(n: number, height: number, width: number): Images {
  const images = zeros([n, height, width, 3], "uint8");
  images.data.forEach((_, i) => {
    images.data[i] = 40 + 70 * (i % 3) + 25 * Math.floor(i / (height * width * 3));
  });
  return images;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenizer-encoders-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each<ViTModel>([
  "dinov2_vits14",
  "dinov2_vitg14_reg",
  "dinov3_vits16",
  "siglip2-base-patch16-256",
  "siglip-so400m-patch14-224",
  "mae_vit_base_patch16",
  "clip-vit-base-patch32",
  "clip-vit-large-patch14",
  "vit_base_patch16_224",
])("%s", (model) => {
  const config = tiny(model, 5);
  const encoder = { config, parameters: initViT(config, createRandom(1, model)) };
  const start = initTokenizer(
    { encoder, decoder, random: createRandom(2, "tokenizer") },
    { imageSize: 64 },
  );

  it.each([
    [64, 64],
    [32, 96],
  ])("gives the patch tokens of the encoder itself, of %i x %i pixels", async (height, width) => {
    const tokenizer = createTokenizer(start, { threads: 1 });
    const own = bindEncoder(start.config.encoder, under(start.parameters, "encoder."), {
      threads: 1,
    });
    const { patchSize } = config;
    const make = patchSize === 16 ? randomImages : plainImages;
    const tokens = await tokenizer.features(make(2, height, width));
    expect(tokens.shape).toEqual([2, (height / 16) * (width / 16), 16]);
    const given = make(2, (height / 16) * patchSize, (width / 16) * patchSize);
    const expected = await own.features(given, { pool: "patches" });
    expect(relativeError(tokens.data, expected)).toBeLessThan(1e-5);
    expect(relativeError(tokens.data.slice().reverse(), expected)).toBeGreaterThan(0.01);
    own.dispose();
    tokenizer.dispose();
  });

  it("gives the same features whichever size it is fitted to", async () => {
    const images = randomImages(2, 64, 96);
    const featuresFitted = async (imageSize: PixelSize) => {
      const fitted = initTokenizer({ encoder, decoder, random: createRandom(2) }, { imageSize });
      const tokenizer = createTokenizer(fitted, { threads: 1 });
      const features = await tokenizer.features(images);
      tokenizer.dispose();
      return features;
    };
    const asStored = await featuresFitted(80); // the grid of 5x5 that the encoder has
    expect(await featuresFitted([64, 96])).toEqual(asStored);
    if (config.positions === "rotary") return;
    // resampled twice, which is another thing
    expect(relativeError((await featuresFitted([96, 64])).data, asStored)).toBeGreaterThan(1e-4);
  });

  it.each([
    [64, 64],
    [64, 96],
  ])("is trained whole on images of %i x %i, and comes back from a folder", async (...size) => {
    const images = randomImages(2, ...size);
    const root = join(folder, model, size.join("x"));
    const start = initTokenizer(
      { encoder, decoder, random: createRandom(2, "tokenizer") },
      { imageSize: size },
    );
    const [rows, columns] = [size[0] / 16, size[1] / 16];
    expect(patchGrid(start.config.encoder)).toEqual([rows, columns]);
    const trained = await trainStage(start, {
      stage: "perceptual",
      folder: join(root, "run"),
      steps: 2,
      lr: 1e-3,
      emaDecay: 0,
      batch: () => ({ images }),
      discriminator: false,
      perceptual: createFeaturePerceptual(encoder, { stride: 16, imageSize: size, layers: [0] }),
      threads: 1,
    });
    const unchanged = Object.entries(start.parameters).filter(([name, { data }]) =>
      data.every((x, i) => x === trained.parameters[name]!.data[i]),
    );
    expect(unchanged.map(([name]) => name)).toEqual([]);
    await saveTokenizer(join(root, "saved"), trained);
    const [saved, loaded] = [
      createTokenizer(trained, { threads: 1 }),
      await loadTokenizer(join(root, "saved"), { threads: 1 }),
    ];
    expect(loaded.config).toEqual(saved.config);
    const latents = await loaded.encode(images);
    expect(latents.shape).toEqual([2, rows, columns, 4]);
    expect(latents).toEqual(await saved.encode(images));
    expect((await loaded.decode(latents)).shape).toEqual(images.shape);
    loaded.dispose();
    saved.dispose();
  });
});
