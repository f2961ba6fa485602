import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createRandom,
  type Images,
  ndarray,
  type Parameters,
  type PixelSize,
  type Random,
  zeros,
} from "@aligntok/core";
import { initViT } from "@aligntok/encoders";
import type { TensorParameters } from "@aligntok/nn";
import { createRunLog, loadLatestCheckpoint, readRunLog } from "@aligntok/train";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encoderGroups } from "../src/encoder-rates.ts";
import { toPlanes } from "../src/images.ts";
import {
  adapterOf,
  applyAdapter,
  applyDecoder,
  applyDiscriminator,
  applyEncoder,
  createFeaturePerceptual,
  createTokenizer,
  estimateStage,
  initDiscriminator,
  initTokenizer,
  type Perceptual,
  type Stage,
  type StageBatch,
  stages,
  type TrainedStage,
  type TrainStageOptions,
  trainableParts,
  trainStage,
} from "../src/index.ts";
import { decoder, discriminator, encoder, relativeError, toTensor, toTensors } from "./golden.ts";

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

function pickOne({ parameters }: TrainedStage, name: string): Parameters {
  return { [name]: parameters[name]! };
}

describe("trainStage", () => {
  it.each(stages)("%s changes what it trains and leaves the rest as it was", async (stage) => {
    const copy = structuredClone(start.parameters);
    const { parameters, discriminator: judge } = await trainStage(start, options(stage));
    expect(changedParts(start.parameters, parameters)).toEqual(
      [...trainableParts(stage, decoder)].sort(),
    );
    expect(changedParts(copy, start.parameters)).toEqual([]); // the argument
    expect(Object.keys(judge!).some((name) => name.endsWith("running_mean"))).toBe(true);
  });

  it.each(stages)("%s trains a decoder without a convolution on the latent", async (stage) => {
    const bare = initTokenizer(
      {
        encoder: vit,
        decoder: { ...decoder, postQuantConv: false },
        random: createRandom(2, "tokenizer"),
      },
      { imageSize: 16 },
    );
    const { parameters } = await trainStage(bare, options(stage, { steps: 1 }));
    expect(changedParts(bare.parameters, parameters)).toEqual(
      trainableParts(stage, decoder)
        .filter((part) => part !== "post_quant_conv")
        .sort(),
    );
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

  it("resizes images for the encoder as the tokenizer does", async () => {
    const config = { ...encoder, imageSize: 12, patchSize: 3 }; // of a stride of 4
    const made = initTokenizer(
      {
        encoder: { config, parameters: initViT(config, createRandom(1, "vit")) },
        decoder,
        random: createRandom(2, "tokenizer"),
      },
      { imageSize: 16, interpolation: "bicubic" },
    );
    const tokenizer = createTokenizer(made, { threads: 1 });
    const features = await tokenizer.features(images);
    tokenizer.dispose();
    const lossOf = async (start: TrainedStage, batch: StageBatch) => {
      let total = 0;
      await trainStage(start, {
        ...options("latent", { steps: 1, discriminator: false }),
        batch: () => batch,
        onProgress: ({ metrics }) => {
          total = metrics?.total ?? total;
        },
      });
      return total;
    };
    const cached = await lossOf(made, { images, features });
    expect(await lossOf(made, { images })).toBeCloseTo(cached, 5);
    const { interpolation: _, ...bilinear } = made.config;
    const other = await lossOf({ ...made, config: bilinear }, { images });
    expect(Math.abs(other - cached)).toBeGreaterThan(1e-4);
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

  it("trains low-rank factors alone and returns ordinary weights", async () => {
    const folder = join(root, "lora");
    const lora = { rank: 2, targets: ["qkv"] };
    const trained = await trainStage(start, { ...options("perceptual"), folder, lora });
    const changed = Object.keys(start.parameters)
      .filter((name) => name.startsWith("encoder."))
      .filter((name) => changedParts(pickOne(start, name), pickOne(trained, name)).length > 0);
    expect(changed).toEqual([
      "encoder.blocks.0.attn.qkv.weight",
      "encoder.blocks.1.attn.qkv.weight",
    ]);
    expect(Object.keys(trained.parameters)).toEqual(Object.keys(start.parameters));
    const saved = (await loadLatestCheckpoint(folder))!.tensors.model!;
    expect(Object.keys(saved)).toContain("encoder.blocks.0.attn.qkv.lora_A.weight");
    expect(Object.keys(saved)).not.toContain("encoder.blocks.0.attn.qkv.weight");
  });

  it("averages the gradients of micro-batches", async () => {
    const train = async (stage: Stage, more: Partial<TrainStageOptions>) =>
      trainStage(start, {
        ...options(stage, { steps: 2, discriminator: false, emaDecay: 0 }),
        batch: () => ({ images }),
        ...more,
      });
    for (const stage of stages) {
      const whole = await train(stage, {});
      const cut = await train(stage, { microBatch: 3 }); // 3, 3 and 2 images
      for (const [name, { data }] of Object.entries(whole.parameters)) {
        if (/(k|qkv)\.bias$/.test(name)) continue; // of keys: zero but for rounding
        expect(
          relativeError(cut.parameters[name]!.data, whole.parameters[name]!),
          name,
        ).toBeLessThan(2e-3);
        expect(data.length).toBe(cut.parameters[name]!.data.length);
      }
    }
  });

  it("samples the latents of a variational adapter alike in a resumed run and in micro-batches", async () => {
    const sampling = initTokenizer(
      { encoder: vit, decoder, random: createRandom(2, "tokenizer") },
      { imageSize: 16, adapter: { variational: true } },
    );
    const losses: Record<string, number>[] = [];
    const common = options("latent", { steps: 3, discriminator: false, klWeight: 10 });
    const whole = await trainStage(sampling, {
      ...common,
      onProgress: ({ metrics }) => metrics && losses.push(metrics),
    });
    expect(losses[0]!.kl).toBeGreaterThan(0);
    expect(losses[0]!.total).toBeCloseTo(
      losses[0]!.absolute! + losses[0]!.perceptual! + 10 * losses[0]!.kl!,
      4,
    );
    const folder = join(root, "sampling");
    await trainStage(sampling, { ...common, folder, steps: 1 });
    const resumed = await trainStage(sampling, { ...common, folder });
    expect(changedParts(whole.parameters, resumed.parameters)).toEqual([]);
    const cut = await trainStage(sampling, { ...common, folder: `${folder}-cut`, microBatch: 1 });
    const name = "adapter.fc2.weight";
    expect(relativeError(cut.parameters[name]!.data, whole.parameters[name]!)).toBeLessThan(2e-3);
  });

  /** A perceptual term that is 0 / 0 for black images. */
  const brittle: Perceptual = {
    name: "brittle",
    parameters: { shift: ndarray(Float32Array.of(1), [1]) },
    distance(params, x, y) {
      const brightness = tf.mean(tf.add(y, params.shift!));
      return tf.div(tf.mul(tf.mean(tf.square(tf.sub(x, y))), brightness), brightness);
    },
  };
  const black = zeros([2, 16, 16, 3], "uint8");

  it("stops at a loss that is not a number, naming step, term and checkpoint", async () => {
    const stopping = options("refine", {
      perceptual: brittle,
      checkpointEvery: 2,
      batch: (step, random) => ({ images: step === 3 ? black : pick(random, 2) }),
    });
    await expect(trainStage(start, stopping)).rejects.toMatchObject({
      code: "diverged",
      message: expect.stringMatching(
        /stage refine: step 4 of 4: expected a finite perceptual, got NaN. the last good checkpoint is .*step-000002/,
      ),
    });
  });

  it("stops at a loss that exploded", async () => {
    await expect(trainStage(start, options("refine", { maxLoss: 1e-3 }))).rejects.toThrow(
      /stage refine: step 1 of 4: expected absolute within 0.001, got/,
    );
  });

  it("skips a step that is not a number: nothing moves", async () => {
    const isBlack = (step: number) => step === 1 || step === 3;
    const common = { perceptual: brittle, emaDecay: 0.5, onNaN: "skip" } as const;
    const batch: TrainStageOptions["batch"] = (step, random) => ({
      images: isBlack(step) ? black : pick(random, 2),
    });
    const one = await trainStage(start, options("perceptual", { ...common, batch, steps: 1 }));
    const two = await trainStage(start, options("perceptual", { ...common, batch, steps: 2 }));
    expect(changedParts(one.parameters, two.parameters)).toEqual([]);
    const folder = join(root, "skipping");
    const four = { ...options("perceptual", { ...common, batch }), folder };
    const whole = await trainStage(start, four);
    expect(changedParts(one.parameters, whole.parameters)).not.toEqual([]);
    const { tensors, state } = (await loadLatestCheckpoint(folder))!;
    expect(tensors.optimizer!.step!.data[0]).toBe(2);
    expect(tensors.discriminator_optimizer!.step!.data[0]).toBe(1);
    expect(state).toMatchObject({ skippedSteps: [2, 1] });
  });

  it("takes the discriminator of the stage before, of the same sizes alone", async () => {
    const before = await trainStage(start, options("latent"));
    const other = options("perceptual", { discriminator: { channels: 8, layers: 2 } });
    await expect(trainStage(before, other)).rejects.toThrow(
      /discriminator main\.0\.weight: expected \[8,3,4,4\], got \[4,3,4,4\] from the stage before/,
    );
  });

  it("keeps what is frozen to the bit through 100 steps, the last two judged", async () => {
    const copy = structuredClone(start.parameters);
    for (const stage of stages) {
      const more = { steps: 100, discriminatorStart: 98, microBatch: 1 } as const;
      const { parameters } = await trainStage(start, options(stage, more));
      expect(changedParts(copy, parameters)).toEqual([...trainableParts(stage, decoder)].sort());
    }
    expect(changedParts(copy, start.parameters)).toEqual([]);
  });

  it("moves batch statistics by the discriminator's own passes, not by the generator's", async () => {
    const judge = initDiscriminator(discriminator, createRandom(3, "discriminator"));
    const trained = await trainStage(
      { ...start, discriminator: judge },
      options("refine", { steps: 1, discriminatorStart: 0, batch: () => ({ images }) }),
    );
    const params = toTensors({ ...start.parameters, ...judge });
    const real = toTensor(toPlanes(images));
    const features = applyEncoder(encoder, params, real, { stride: 4 });
    const latents = applyAdapter(adapterOf(start.config), params, features); // (8, 16, 4)
    const map = tf.reshape(tf.transpose(latents, [0, 2, 1]), [8, 4, 4, 4]);
    const fake = applyDecoder(decoder, params, map);
    const pass = (statistics: TensorParameters, x: tf.Tensor) =>
      applyDiscriminator(discriminator, { ...params, ...statistics }, x, { training: true })
        .statistics;
    const own = pass(pass({}, real), fake);
    const generatorToo = pass(own, fake);
    expect(Object.keys(own).length).toBeGreaterThan(0);
    for (const [name, expected] of Object.entries(own)) {
      const moved = trained.discriminator![name]!;
      expect(relativeError(expected.dataSync(), moved), name).toBeLessThan(1e-4);
      expect(relativeError(generatorToo[name]!.dataSync(), moved), name).toBeGreaterThan(1e-2);
    }
  });
});

describe("estimateStage", () => {
  it("tells what is trained, and the memory for images of any aspect", () => {
    const estimate = (imageSize: PixelSize) => {
      const random = createRandom(2, "tokenizer");
      const fitted = initTokenizer({ encoder: vit, decoder, random }, { imageSize });
      return estimateStage(fitted, { stage: "refine", discriminator, batchSize: 2, imageSize });
    };
    const square = estimate(16);
    const count = (prefix: RegExp) =>
      Object.entries(start.parameters)
        .filter(([name]) => prefix.test(name))
        .reduce((sum, [, { data }]) => sum + data.length, 0);
    expect(square.trained).toEqual({ decoder: count(/^(decoder|post_quant_conv)/) });
    expect(square.frozen).toEqual({ encoder: count(/^encoder/), adapter: count(/^adapter/) });
    expect(estimate([16, 16])).toEqual(square);
    const wide = estimate([16, 32]).memory;
    expect(wide.weights).toBe(square.memory.weights + 16 * 8 * 4); // of position embeddings
    expect(wide.activations / square.memory.activations).toBeGreaterThan(1.9);
    expect(wide.activations / square.memory.activations).toBeLessThan(2.2);
  });
});

describe("encoderGroups", () => {
  const names = Object.keys(start.parameters);

  it("halves the rate from block to block", () => {
    const groups = encoderGroups(names, 2, { encoderLrScale: 0.2, layerDecay: 0.5 });
    expect(groups).toEqual([
      { prefix: "encoder.norm", lrScale: 0.2 },
      { prefix: "encoder.blocks.0", lrScale: 0.05 },
      { prefix: "encoder.blocks.1", lrScale: 0.1 },
      { prefix: "encoder", lrScale: 0.025 },
    ]);
  });

  it("has none where no encoder is trained", () => {
    expect(encoderGroups(["decoder.conv_in.bias"], 2, {})).toEqual([]);
    expect(() => encoderGroups(names, 2, { layerDecay: 1.5 })).toThrow(/layerDecay: expected/);
  });
});
