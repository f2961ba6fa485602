import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTiledTokenizer } from "@aligntok/aligntok";
import {
  type AutoencoderConfig,
  createAutoencoder,
  initAutoencoder,
  saveAutoencoder,
} from "@aligntok/aligntok/vae";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import {
  createRandom,
  type Images,
  type NdArray,
  ndarray,
  reshape,
  type Tokenizer,
} from "@aligntok/core";
import {
  createDenoiser,
  denormalizeLatents,
  initLightningDit,
  lightningDitDefaults,
  sampleLatents,
  saveDiffusion,
} from "@aligntok/diffusion";
import { encodePng, type Image, readImage, stackImages } from "@aligntok/image";
import { sharedData } from "@aligntok/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { aligntok } from "./command-line.ts";

const taef2 = sharedData("taef2");
const photograph = sharedData("kodak", "20.png");
const expectedFile = sharedData("fixtures", "expected_values.json");
const hasData = taef2 && photograph && expectedFile;
if (!hasData) console.warn("skipped: TAEF2 or Kodak's photographs (../shared/data) are absent");

const size = 16;
const config: AutoencoderConfig = {
  ...{ latent: 4, channels: 32, multipliers: [1, 2], blocks: 1, scale: 0.5, shift: 0.1 },
};
const parameters = initAutoencoder(config, createRandom(0, "autoencoder"));

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-baselines-"));
});
afterAll(() => rm(folder, { recursive: true }));

function square({ data, shape }: Image, [top, left]: readonly number[], side: number): Image {
  const [, width = 0] = shape;
  const rows = Array.from({ length: side }, (_, y) => {
    const start = ((top! + y) * width + left!) * 3;
    return Array.from(data.subarray(start, start + side * 3));
  });
  return ndarray(Uint8Array.from(rows.flat()), [side, side, 3], "uint8");
}

function largestDifference(a: Images, b: Images): number {
  expect(a.shape).toEqual(b.shape);
  return a.data.reduce((most, x, i) => Math.max(most, Math.abs(x - b.data[i]!)), 0);
}

test.skipIf(!hasData)("reconstruct with TAEF2 has the PSNR of an independent run", async () => {
  const path = join(folder, "kodim20.png");
  await writeFile(path, await encodePng(square(await readImage(photograph!), [128, 128], 256)));
  const { status, stdout } = await aligntok([
    ...["reconstruct", "--tokenizer", taef2!, "--images", path],
    ...["--out", join(folder, "kodak"), "--metrics", "--json"],
  ]);
  expect(status).toBe(0);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ images: 1, size: 256 });
  const expected = JSON.parse(await readFile(expectedFile!, "utf8"));
  const { kodim20 } = expected.taef2_kodak_psnr_crop_128_384_rounded_uint8;
  expect(Math.abs(report.psnr - kodim20)).toBeLessThan(0.05);
});

test.skipIf(!hasData)("reconstruct takes a photograph in its own size", async () => {
  const { stdout } = await aligntok([
    ...["reconstruct", "--tokenizer", taef2!, "--images", photograph!, "--size", "own"],
    ...["--out", join(folder, "kodak"), "--metrics", "--json"],
  ]);
  // of all 768 x 512 pixels, by the PyTorch modules of tools/golden/aligntok-vae.py
  expect(Math.abs(JSON.parse(stdout).psnr - 31.9575)).toBeLessThan(0.01);
});

test("reconstruct takes a Lightning checkpoint and says what it leaves out; tiles on demand", async () => {
  const checkpoint: Record<string, NdArray> = Object.fromEntries(
    Object.entries(parameters).map(([name, array]) => [`state_dict.${name}`, array]),
  );
  const file = join(folder, "lightning.safetensors");
  await writeSafetensors(file, {
    ...checkpoint,
    "state_dict.loss.logvar": ndarray(Float32Array.of(0), []),
    "state_dict.linear_proj.weight": ndarray(Float32Array.of(0, 0, 0, 0), [1, 4, 1, 1]),
  });
  const random = createRandom(0, "photo");
  const photo = ndarray(
    Uint8Array.from({ length: size * size * 3 }, () => random.integer(256)),
    [size, size, 3],
    "uint8",
  );
  const path = join(folder, "photo.png");
  await writeFile(path, await encodePng(photo));
  const out = join(folder, "reconstructed");
  const reconstruct = (...options: string[]) =>
    aligntok([
      ...["reconstruct", "--tokenizer", file, "--images", path, "--size", String(size)],
      ...["--out", out, ...options],
    ]);
  const { status, stderr } = await reconstruct();
  expect(status).toBe(0);
  expect(stderr).toMatch(/autoencoder: left out 2 tensors of the file \(state_dict\./);
  const tokenizer = createAutoencoder({ config, parameters });
  const batch = reshape(photo, [1, ...photo.shape]);
  const through = async (by: Tokenizer) => by.decode(await by.encode(batch));
  const wanted = await through(tokenizer);
  const wantedInTiles = await through(createTiledTokenizer(tokenizer, { tile: 8 }));
  tokenizer.dispose();
  const names = await readdir(out, { recursive: true });
  const written = join(out, names.find((name) => name.endsWith(".png"))!);
  const read = async () => stackImages([await readImage(written)]);
  expect(largestDifference(await read(), wanted)).toBeLessThanOrEqual(1);

  expect((await reconstruct("--tile", "8")).status).toBe(0);
  expect(largestDifference(await read(), wantedInTiles)).toBeLessThanOrEqual(1);
  expect(largestDifference(wantedInTiles, wanted)).toBeGreaterThan(1);
});

test("encode --sample draws from each image's distribution, whatever the batches", async () => {
  const model = join(folder, "distribution");
  await saveAutoencoder(model, { config, parameters });
  const photos = join(folder, "photos");
  await mkdir(photos);
  const random = createRandom(1, "photos");
  for (const name of ["a", "b", "c"]) {
    const data = Uint8Array.from({ length: size * size * 3 }, () => random.integer(256));
    await writeFile(
      join(photos, `${name}.png`),
      await encodePng(ndarray(data, [size, size, 3], "uint8")),
    );
  }
  const out = join(folder, "drawn.safetensors");
  const encode = async (...options: string[]) => {
    const { status, stderr } = await aligntok([
      ...["encode", "--tokenizer", model, "--images", photos, "--size", String(size)],
      ...["--out", out, ...options],
    ]);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    return (await readSafetensors(out)).tensors.latents!.data as Float32Array;
  };
  const drawn = await encode("--sample", "--seed", "4", "--batch", "1");
  const again = await encode("--sample", "--seed", "4", "--batch", "2");
  expect(Math.max(...drawn.map((x, i) => Math.abs(x - again[i]!)))).toBeLessThan(1e-4);
  const tokenizer = createAutoencoder({ config, parameters });
  const images = await Promise.all(
    ["a", "b", "c"].map((name) => readImage(join(photos, `${name}.png`))),
  );
  const moments = await tokenizer.moments!(stackImages(images));
  tokenizer.dispose();
  const mean = await encode();
  // (x - mean) / std is standard normal
  const scores = drawn.map((x, i) => {
    const [row, rest] = [Math.floor(i / 256), i % 256];
    const [channel, position] = [Math.floor(rest / 64), rest % 64];
    const logVariance = moments.data[(row * 64 + position) * 8 + 4 + channel]!;
    return (x - mean[i]!) / Math.exp(logVariance / 2);
  });
  const power = scores.reduce((sum, score) => sum + score ** 2, 0) / scores.length;
  expect(power).toBeGreaterThan(0.8);
  expect(power).toBeLessThan(1.2);
});

test("sample decodes by the scale and shift of the autoencoder", async () => {
  const dit = {
    ...lightningDitDefaults,
    ...{ inputSize: 4, inChannels: 4, classes: 2, depth: 1, width: 16, heads: 2, patchSize: 1 },
  };
  const params = initLightningDit(dit, createRandom(0, "dit"));
  const [model, tokenizerFolder] = [join(folder, "model"), join(folder, "tokenizer")];
  await saveDiffusion(model, { config: dit, params });
  await saveAutoencoder(tokenizerFolder, { config, parameters });
  const out = join(folder, "samples");
  const { status } = await aligntok([
    ...["sample", "--model", model, "--tokenizer", tokenizerFolder, "--out", out],
    ...["--count", "2", "--steps", "2", "--seed", "3"],
  ]);
  expect(status).toBe(0);
  const denoiser = createDenoiser(dit, params);
  const latents = await sampleLatents(denoiser, {
    ...{ labels: [0, 1], latentShape: [4, 4, 4], points: 3, seed: 3 },
  });
  denoiser.dispose();
  const tokenizer = createAutoencoder({ config, parameters });
  const wanted = await tokenizer.decode(denormalizeLatents(latents, tokenizer.stats!));
  const raw = await tokenizer.decode(latents);
  tokenizer.dispose();
  const names = (await readdir(out)).sort();
  const images = stackImages(await Promise.all(names.map((name) => readImage(join(out, name)))));
  expect(largestDifference(images, wanted)).toBeLessThanOrEqual(1);
  expect(largestDifference(images, raw)).toBeGreaterThan(1);
});
