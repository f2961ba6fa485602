import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Random, rows, zeros } from "@aligntok/core";
import { initViT } from "@aligntok/encoders";
import { createRunLog, readRunLog } from "@aligntok/train";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type AutoencoderConfig,
  initAutoencoder,
  type TrainAutoencoderOptions,
  trainAutoencoder,
} from "../../src/vae/index.ts";
import { encoder, relativeError } from "../golden.ts";

const config: AutoencoderConfig = {
  ...{ latent: 4, channels: 8, multipliers: [1, 2], blocks: 1, groups: 4 },
};
const start = { config, parameters: initAutoencoder(config, createRandom(0, "weights")) };
const vit = { config: encoder, parameters: initViT(encoder, createRandom(0, "vit")) };

/** Ramps of two colours. */
const images = zeros([4, 8, 8, 3], "uint8");
images.data.forEach((_, i) => {
  const [c, x, y, n] = [i % 3, Math.floor(i / 3) % 8, Math.floor(i / 24) % 8, Math.floor(i / 192)];
  images.data[i] = (n * 40 + (c + 1) * x * 9 + y * n * 5) % 256;
});

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "train-autoencoder-"));
});
afterAll(() => rm(root, { recursive: true }));

const common = {
  steps: 20,
  lr: 3e-3,
  checkpointEvery: 100,
  logEvery: 1,
  batch: (_: number, random: Random) => {
    const first = random.integer(2) * 2;
    return { images: rows(images, first, first + 2) };
  },
};
const vision = { encoder: vit, cosineMargin: 0, distanceMargin: 0 };
const run = (name: string, options: Partial<TrainAutoencoderOptions>, from = start) =>
  trainAutoencoder(from, { ...common, discriminator: false, folder: join(root, name), ...options });

/** A training's log: the means of a metric over the first and the last five steps. */
async function learn(name: string, options: Partial<TrainAutoencoderOptions>) {
  const log = createRunLog(join(root, name));
  const trained = await run(name, { ...options, log });
  log.close();
  const lines = await readRunLog(join(root, name));
  const mean = (key: string, steps: readonly [number, number?]) =>
    lines.slice(...steps).reduce((sum, line) => sum + line[key]! / 5, 0);
  const ends = (key: string) => [mean(key, [0, 5]), mean(key, [-5])] as const;
  return { ...trained, ends };
}

it("learns to reconstruct", async () => {
  const { parameters, projection, ends } = await learn("plain", {});
  const [first, last] = ends("absolute");
  expect(last).toBeLessThan(0.9 * first);
  expect(ends("kl")[0]).toBeGreaterThan(0);
  expect(ends("vf")[0]).toBeNaN();
  expect(Object.keys(parameters)).toEqual(Object.keys(start.parameters));
  expect(projection).toBeUndefined();
});

it("comes near to the features of a frozen encoder meanwhile", async () => {
  const { projection, ends } = await learn("vision", { vision });
  const [first, last] = ends("absolute");
  expect(last).toBeLessThan(0.9 * first);
  const [far, near] = ends("vf");
  expect(near).toBeLessThan(far);
  expect(ends("vfWeight")[0]).toBeGreaterThan(0);
  expect(projection?.shape).toEqual([encoder.width, config.latent, 1, 1]);
});

it("goes on where it was interrupted, to the same bits, its discriminator included", async () => {
  const judged = { discriminator: { channels: 4, layers: 1 }, discriminatorStart: 0 };
  const whole = await run("whole", { ...judged, steps: 2 });
  await run("parts", { ...judged, steps: 1 });
  expect(await run("parts", { ...judged, steps: 2 })).toEqual(whole);
  expect(whole.discriminator).toBeDefined();
});

it("carries the projection on to the next phase", async () => {
  const first = await run("first", { vision, steps: 1 });
  const second = await run("second", { vision, steps: 1, lr: 0 }, first);
  expect(second).toEqual(first);
});

it("computes values inside blocks again with the same result", async () => {
  const [kept, again] = [
    await run("kept", { vision, steps: 2 }),
    await run("again", { vision, steps: 2, recompute: true }),
  ];
  for (const name of ["encoder.conv_out.weight", "decoder.conv_in.weight"]) {
    expect(relativeError(again.parameters[name]!.data, kept.parameters[name]!)).toBeLessThan(1e-4);
  }
});

it("names the term that is not a number, or exploded", async () => {
  const broken = zeros([2, 16, encoder.width]);
  broken.data.fill(Number.NaN);
  const batch = () => ({ images: rows(images, 0, 2), features: broken });
  await expect(run("not-a-number", { vision, batch })).rejects.toThrow(
    /VA-VAE: step 1 of 20: expected a finite vf, got NaN/,
  );
  const far = structuredClone(start);
  far.parameters["quant_conv.bias"]!.data.fill(20); // of the means, and a variance at its limit
  await expect(run("exploded", { maxLoss: 100 }, far)).rejects.toThrow(
    /autoencoder: step 1 of 20: expected kl within 100, got/,
  );
  await expect(run("beyond", { vision, maxLoss: 1 })).rejects.toThrow(
    /VA-VAE: step 1 of 20: expected vf within 1, got/,
  );
});
