import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Images, type Parameters, type Random, zeros } from "@aligntok/core";
import { initViT } from "@aligntok/encoders";
import { createRunLog, readRunLog } from "@aligntok/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFeaturePerceptual,
  createTokenizer,
  initTokenizer,
  type Stage,
  stages,
  type TrainedStage,
  type TrainStageOptions,
  trainableParts,
  trainStage,
} from "../src/index.ts";
import { decoder, discriminator, encoder } from "./golden.ts";

/** Eight images of two colour ramps each, easy to tell apart and to learn. */
const images = (() => {
  const all = zeros([8, 16, 16, 3], "uint8");
  all.data.forEach((_, i) => {
    const [c, x, y, n] = [
      i % 3,
      Math.floor(i / 3) % 16,
      Math.floor(i / 48) % 16,
      Math.floor(i / 768),
    ];
    all.data[i] = (n * 31 + (c + 1) * x * 5 + y * (n % 3) * 4) % 256;
  });
  return all;
})();

function pick(random: Random, count: number): Images {
  const chosen = random.permutation(8).subarray(0, count);
  const batch = zeros([count, 16, 16, 3], "uint8");
  chosen.forEach((from, to) => {
    batch.data.set(images.data.subarray(from * 768, (from + 1) * 768), to * 768);
  });
  return batch;
}

const vit = { config: encoder, parameters: initViT(encoder, createRandom(1, "vit")) };
const start: TrainedStage = initTokenizer(
  { encoder: vit, decoder, random: createRandom(2, "tokenizer") },
  { imageSize: 16 },
);

let root: string;
let folders = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "stages-"));
});
afterAll(() => rm(root, { recursive: true }));

function options(stage: Stage, more: Partial<TrainStageOptions> = {}): TrainStageOptions {
  return {
    stage,
    folder: join(root, `${folders++}`),
    steps: 4,
    lr: 1e-3,
    batch: (_, random) => ({ images: pick(random, 2) }),
    discriminator,
    discriminatorStart: 1,
    perceptual: createFeaturePerceptual(vit, { layers: [0, 1] }),
    threads: 1,
    ...more,
  };
}

/** First dotted parts of the names of parameters that differ. */
function changedParts(before: Parameters, after: Parameters): string[] {
  const changed = Object.keys(before).filter((name) =>
    before[name]!.data.some((x, i) => x !== after[name]!.data[i]),
  );
  return [...new Set(changed.map((name) => name.split(".")[0]!))].sort();
}

describe("trainStage", () => {
  it.each(stages)("%s changes what it trains and leaves the rest as it was", async (stage) => {
    const copy = structuredClone(start.parameters);
    const { parameters, discriminator: judge } = await trainStage(start, options(stage));
    expect(changedParts(start.parameters, parameters)).toEqual([...trainableParts[stage]].sort());
    expect(changedParts(copy, start.parameters)).toEqual([]); // the argument
    expect(Object.keys(judge!).some((name) => name.endsWith("running_mean"))).toBe(true);
  });

  it("has the same losses with precomputed features and latents", async () => {
    const tokenizer = createTokenizer(start, { threads: 1 });
    const precomputed = {
      features: await tokenizer.features(images),
      latents: await tokenizer.encode(images),
    };
    tokenizer.dispose();
    const lossesOf = async (stage: Stage, more: object) => {
      const losses: number[] = [];
      await trainStage(start, {
        ...options(stage, { steps: 3, discriminator: false }),
        batch: () => ({ images, ...more }),
        onProgress: ({ metrics }) => metrics && losses.push(metrics.total!),
      });
      return losses;
    };
    for (const stage of stages) {
      const direct = await lossesOf(stage, {});
      const cached = await lossesOf(stage, precomputed);
      expect(direct).toHaveLength(3);
      for (const [i, loss] of direct.entries()) expect(cached[i]).toBeCloseTo(loss, 4);
    }
  });

  it("brings the reconstruction error down, stage after stage", async () => {
    const errorOf = async ({ config, parameters }: TrainedStage) => {
      const tokenizer = createTokenizer({ config, parameters }, { threads: 1 });
      const decoded = await tokenizer.decode(await tokenizer.encode(images));
      tokenizer.dispose();
      return (
        images.data.reduce((sum, x, i) => sum + Math.abs(x - decoded.data[i]!), 0) /
        images.data.length
      );
    };
    const errors = [await errorOf(start)];
    let trained = start;
    for (const stage of stages) {
      const more = { steps: 60, lr: 3e-3, emaDecay: 0, discriminator: false } as const;
      trained = await trainStage(trained, options(stage, more));
      errors.push(await errorOf(trained));
    }
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]!);
  });

  it("ends alike whether it was interrupted or not, to the bit", async () => {
    const whole = options("perceptual", { steps: 5, checkpointEvery: 2, emaDecay: 0.5 });
    const uninterrupted = await trainStage(start, whole);

    const folder = join(root, "interrupted");
    const controller = new AbortController();
    const log = createRunLog(folder);
    const interrupted = { ...whole, folder, log, logEvery: 1 };
    await expect(
      trainStage(start, {
        ...interrupted,
        signal: controller.signal,
        onProgress: ({ done }) => done === 3 && controller.abort(),
      }),
    ).rejects.toMatchObject({ code: "aborted" });
    const resumed = await trainStage(start, interrupted);
    log.close();
    const finished = await trainStage(start, {
      ...whole,
      batch: () => expect.fail("a finished stage needs no batch"),
    });
    expect(changedParts(uninterrupted.parameters, finished.parameters)).toEqual([]);
    expect(changedParts(uninterrupted.parameters, resumed.parameters)).toEqual([]);
    expect(changedParts(uninterrupted.discriminator!, resumed.discriminator!)).toEqual([]);
    const lines = await readRunLog(folder);
    expect(lines.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    expect(lines[0]).not.toHaveProperty("discriminator"); // it starts at step index 1
    expect(lines[1]).toHaveProperty("generatorWeight");
  });

  it("goes on when made longer, to a discriminator that had not begun", async () => {
    const short = options("latent", { steps: 1, discriminatorStart: 1 });
    expect((await trainStage(start, short)).discriminator).toBeUndefined();
    const longer = await trainStage(start, { ...short, steps: 2 });
    const whole = await trainStage(start, { ...short, steps: 2, folder: join(root, "longer") });
    expect(changedParts(longer.parameters, whole.parameters)).toEqual([]);
    expect(changedParts(longer.discriminator!, whole.discriminator!)).toEqual([]);
  });

  it("refuses the checkpoint of another stage", async () => {
    const first = options("latent");
    await trainStage(start, first);
    await expect(trainStage(start, { ...first, stage: "refine" })).rejects.toThrow(
      /expected stage refine with seed 0, got stage latent/,
    );
  });
});
