import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, ndarray, zeros } from "@aligntok/core";
import { readRunLog } from "@aligntok/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDenoiser } from "../src/denoiser.ts";
import { loadDiffusion, saveDiffusion } from "../src/diffusion-model.ts";
import { denormalizeLatents } from "../src/latents.ts";
import { initLightningDit, lightningDitDefaults } from "../src/lightningdit.ts";
import { sampleLatents } from "../src/sample.ts";
import { trainDiffusion } from "../src/train-diffusion.ts";

const config = {
  ...lightningDitDefaults,
  inputSize: 2,
  inChannels: 4,
  classes: 2,
  depth: 2,
  width: 32,
  heads: 2,
  patchSize: 1,
};

/** Two classes of latents around opposite patterns, far from mean 0 and deviation 1. */
function twoClasses(count: number) {
  const random = createRandom(0, "two-classes");
  const pattern = random.normals(16);
  const labels = Int32Array.from({ length: count }, (_, i) => i % 2);
  const latents = zeros([count, 2, 2, 4]);
  latents.data.forEach((_, i) => {
    const sign = labels[Math.floor(i / 16)] ? 1 : -1;
    latents.data[i] = 5 + 3 * (sign * pattern[i % 16]! + 0.1 * random.normal());
  });
  return { latents, labels, pattern };
}

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "aligntok-diffusion-"));
});
afterAll(() => rm(root, { recursive: true }));

describe("trainDiffusion", () => {
  it("learns two classes, and samples of each come out as that class", async () => {
    const { latents, labels, pattern } = twoClasses(64);
    const folder = join(root, "learn");
    const options = { config, latents, labels, folder, batchSize: 32, lr: 3e-3, emaDecay: 0.98 };
    const trained = await trainDiffusion({ ...options, steps: 200, logEvery: 20 });
    const log = await readRunLog(folder);
    expect(log[0]!.loss).toBeGreaterThan(1.2 * log.at(-1)!.loss!);

    const model = await loadDiffusion(folder);
    expect(model).toEqual(trained);
    const denoiser = createDenoiser(model.config, model.ema!);
    const wanted = [0, 1, 0, 1, 0, 1, 0, 1];
    const drawn = await sampleLatents(denoiser, {
      labels: wanted,
      latentShape: [2, 2, 4],
      points: 21,
      cfgScale: 1.5,
      cfgChannels: "all",
    });
    denoiser.dispose();
    const samples = denormalizeLatents(drawn, model.stats!);
    const scores = wanted.map((_, n) =>
      pattern.reduce((sum, p, i) => sum + p * (samples.data[n * 16 + i]! - 5), 0),
    );
    expect(scores.map((score) => Number(score > 0))).toEqual(wanted);
    const energy = 3 * pattern.reduce((sum, p) => sum + p * p, 0);
    for (const score of scores) expect(Math.abs(score)).toBeGreaterThan(0.5 * energy);
  });

  it("interrupted and resumed, ends in the same bytes as in one go", async () => {
    const { latents, labels } = twoClasses(10);
    const flipped = ndarray(
      latents.data.map((z) => -z),
      latents.shape,
    );
    const options = {
      ...{ config, latents, flipped, labels, batchSize: 4, steps: 9, seed: 5, logEvery: 3 },
      ...{ maxGradNorm: 0.5, cosine: true },
    };
    const [whole, parts] = [join(root, "whole"), join(root, "parts")];
    await trainDiffusion({ ...options, folder: whole });

    const controller = new AbortController();
    const interrupted = trainDiffusion({
      ...options,
      folder: parts,
      signal: controller.signal,
      onProgress: ({ done }) => done === 4 && controller.abort(),
    });
    await expect(interrupted).rejects.toMatchObject({ code: "aborted" });
    const seen: number[] = [];
    await trainDiffusion({ ...options, folder: parts, onProgress: ({ done }) => seen.push(done) });
    expect(seen).toEqual([4, 5, 6, 7, 8, 9]);
    for (const file of ["model.safetensors", "ema.safetensors", "config.json", "log.jsonl"]) {
      expect(await readFile(join(parts, file)), file).toEqual(await readFile(join(whole, file)));
    }

    const otherSeed = trainDiffusion({ ...options, folder: parts, seed: 6 });
    await expect(otherSeed).rejects.toThrow("expected its seed 5 and batchSize 4, got 6 and 4");
  });

  it("refuses latents and labels that do not fit the configuration", async () => {
    const { latents, labels } = twoClasses(4);
    const train = (change: object) =>
      trainDiffusion({
        ...{ config, latents, labels, batchSize: 2, steps: 1, folder: join(root, "refused") },
        ...change,
      });
    await expect(train({ labels: Int32Array.of(0, 1, 2, 0) })).rejects.toThrow("0 to 1, got 2");
    await expect(train({ labels: new Int32Array(3) })).rejects.toThrow("labels: expected 4");
    await expect(train({ latents: zeros([4, 4, 4, 4]) })).rejects.toThrow(
      "expected (N, 2, 2, 4) for this config, got [4,4,4,4]",
    );
  });
});

describe("a saved model", () => {
  it("comes back as it was, and names what does not belong", async () => {
    const folder = join(root, "saved", "model");
    const params = initLightningDit(config, createRandom(1));
    await saveDiffusion(folder, { config, params });
    expect(await loadDiffusion(folder)).toEqual({ config, params });
    const { pos_embed, ...rest } = params;
    expect(pos_embed).toBeDefined();
    await expect(
      saveDiffusion(folder, { config, params: { ...rest, extra: zeros([1]) } }),
    ).rejects.toThrow("got pos_embed missing, extra unknown");
    await expect(loadDiffusion(join(root, "absent"))).rejects.toMatchObject({ code: "not-found" });
  });
});
