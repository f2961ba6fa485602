import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenizer, initTokenizer, saveTokenizer } from "@aligntok/aligntok";
import { readNpz } from "@aligntok/checkpoint";
import { createRandom, type Images, ndarray } from "@aligntok/core";
import {
  createDenoiser,
  denormalizeLatents,
  initLightningDit,
  lightningDitDefaults,
  sampleLatents,
  saveDiffusion,
} from "@aligntok/diffusion";
import { initViT } from "@aligntok/encoders";
import { computePsnr, computeSsim } from "@aligntok/eval-fid";
import { encodePng, readImage, stackImages } from "@aligntok/image";
import { afterAll, beforeAll, expect, test } from "vitest";
import { aligntok } from "./command-line.ts";
import { decoder, size, vit } from "./tiny-tokenizer.ts";

const dit = {
  ...lightningDitDefaults,
  ...{ inputSize: 2, inChannels: 4, classes: 3, depth: 1, width: 16, heads: 2, patchSize: 1 },
};
const stats = { mean: Float32Array.of(0, 1, 0, -1), std: Float32Array.of(1, 2, 1, 2) };

const tokenizerWeights = initTokenizer(
  {
    encoder: { config: vit, parameters: initViT(vit, createRandom(1, "vit")) },
    decoder,
    random: createRandom(1, "tokenizer"),
  },
  { imageSize: size },
);
// Fresh weights end in zeros, whose velocity is zero whatever the class: noise makes the test see labels and guidance.
const random = createRandom(1, "dit");
const ditWeights = Object.fromEntries(
  Object.entries(initLightningDit(dit, random)).map(([name, { data, shape }]) => [
    name,
    ndarray(
      data.map((value) => value + 0.3 * random.normal()),
      shape,
    ),
  ]),
);

let folder = "";
let model: string[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-generation-"));
  await saveTokenizer(join(folder, "tokenizer"), tokenizerWeights);
  await saveDiffusion(join(folder, "model"), { config: dit, params: ditWeights, stats });
  model = ["--model", join(folder, "model"), "--tokenizer", join(folder, "tokenizer")];
});
afterAll(() => rm(folder, { recursive: true }));

async function readFolder(path: string): Promise<Images> {
  const names = (await readdir(path)).sort();
  return stackImages(await Promise.all(names.map((name) => readImage(join(path, name)))));
}

test("reconstruct writes what the tokenizer makes of each image, and its scores", async () => {
  const photos = ndarray(
    Uint8Array.from({ length: 3 * size * size * 3 }, () => random.integer(256)),
    [3, size, size, 3],
    "uint8",
  );
  const paths = [0, 1, 2].map((i) => join(folder, `photo-${i}.png`));
  for (const [i, path] of paths.entries()) {
    const data = photos.data.slice(i * size * size * 3, (i + 1) * size * size * 3);
    await writeFile(path, await encodePng(ndarray(data, [size, size, 3], "uint8")));
  }
  const out = join(folder, "reconstructed");
  const { status, stdout } = await aligntok([
    ...["reconstruct", "--tokenizer", join(folder, "tokenizer"), "--images", ...paths],
    ...["--out", out, "--metrics", "--batch", "2", "--json"],
  ]);
  expect(status).toBe(0);

  const tokenizer = createTokenizer(tokenizerWeights);
  const wanted = await tokenizer.decode(await tokenizer.encode(photos));
  tokenizer.dispose();
  const files = (await readdir(out, { recursive: true })).filter((name) => name.endsWith(".png"));
  const written = await Promise.all(files.sort().map((name) => readImage(join(out, name))));
  expect(largestDifference(stackImages(written), wanted)).toBeLessThanOrEqual(1);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ images: 3, size });
  expect(report.psnr).toBeCloseTo(computePsnr(photos, wanted).mean, 2);
  expect(report.ssim).toBeCloseTo(computeSsim(photos, wanted).mean, 3);
});

test("images too small for SSIM are left out of it and counted", async () => {
  const photos = join(folder, "sizes");
  await mkdir(photos);
  for (const [name, height, width] of [
    ["small", 8, 20],
    ["large", 16, 20],
  ] as const) {
    const pixels = Uint8Array.from({ length: height * width * 3 }, () => random.integer(256));
    const image = ndarray(pixels, [height, width, 3], "uint8");
    await writeFile(join(photos, `${name}.png`), await encodePng(image));
  }
  const reconstruct = (images: string, ...args: string[]) =>
    aligntok([
      ...["reconstruct", "--tokenizer", join(folder, "tokenizer"), "--images", images],
      ...["--out", join(folder, "own"), "--size", "own", "--metrics", ...args],
    ]);
  const { status, stdout, stderr } = await reconstruct(photos, "--json");
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const [original, back] = await Promise.all(
    [photos, join(folder, "own")].map((path) => readImage(join(path, "large.png"))),
  );
  const asBatch = ({ data }: { data: Uint8Array }) => ndarray(data, [1, 16, 20, 3], "uint8");
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ images: 2, withoutSsim: 1 });
  expect(report.ssim).toBeCloseTo(computeSsim(asBatch(original!), asBatch(back!)).mean, 5);

  const alone = await reconstruct(join(photos, "small.png"));
  expect(alone.stdout).toMatch(
    /^PSNR [\d.]+ dB, no SSIM of 1 images with a side of less than 11 px$/m,
  );
});

test("sample draws the classes in turn, with guidance, from the seed", async () => {
  const out = join(folder, "samples");
  const options = ["--classes", "2,0", "--count", "5", "--steps", "4", "--cfg", "3", "--seed", "7"];
  const { status } = await aligntok(["sample", ...model, ...options, "--out", out]);
  expect(status).toBe(0);

  const denoiser = createDenoiser(dit, ditWeights);
  const latents = await sampleLatents(denoiser, {
    labels: [2, 0, 2, 0, 2],
    latentShape: [2, 2, 4],
    points: 5,
    cfgScale: 3,
    seed: 7,
  });
  denoiser.dispose();
  const tokenizer = createTokenizer(tokenizerWeights);
  const wanted = await tokenizer.decode(denormalizeLatents(latents, stats));
  tokenizer.dispose();
  const images = await readFolder(out);
  expect(images.shape).toEqual([5, size, size, 3]);
  expect(largestDifference(images, wanted)).toBeLessThanOrEqual(1);

  // The same images in an archive, whatever the batch size.
  const archive = join(folder, "samples.npz");
  const again = await aligntok(["sample", ...model, ...options, "--batch", "2", "--out", archive]);
  expect(again.status).toBe(0);
  const { arr_0: stored } = await readNpz(archive);
  expect(largestDifference(stored as Images, images)).toBeLessThanOrEqual(1);
});

test("a class that the model does not know is bad input", async () => {
  const args = ["sample", ...model, "--classes", "3", "--out", join(folder, "none")];
  const { status, stderr } = await aligntok(args);
  expect(status).toBe(2);
  expect(stderr).toMatch(/^aligntok: --classes: expected indices below 3, got 3\..*\n$/);
});

function largestDifference(a: Images, b: Images): number {
  expect(a.shape).toEqual(b.shape);
  return a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i]!)), 0);
}
