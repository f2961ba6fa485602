import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type Images, reshape, rows } from "@aligntok/core";
import { encodePng, type Image, type ImageInput } from "@aligntok/image";
import { compile, spec } from "@aligntok/jit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  applyViT,
  applyViTLayers,
  createEncoder,
  loadEncoder,
  patchGrid,
  preprocess,
  type VisionEncoder,
} from "../src/index.ts";
import { errorOf } from "./error-of.ts";
import { fixture, formulaImages, largestDifference } from "./images.ts";

let encoder: VisionEncoder;
let folder: string;
const images = formulaImages(5, 35, 35);
const imageOf = (i: number): Image => reshape(rows(images, i, i + 1), [35, 35, 3]);

beforeAll(async () => {
  const { config } = await loadEncoder(fixture("dinov2-with-registers"));
  encoder = createEncoder(config, createRandom(3, "weights"), { batchSize: 2, threads: 1 });
  folder = await mkdtemp(join(tmpdir(), "aligntok-features-"));
});
afterAll(async () => {
  encoder.dispose();
  await rm(folder, { recursive: true });
});

/** The graph without any of the encoder's machinery. */
async function plain(only: Images): Promise<{ last: Float32Array; layers: Float32Array[] }> {
  const { config, parameters } = encoder;
  const graph = await compile(
    ({ params, x }) => {
      const pixels = preprocess(config, x);
      return {
        last: applyViT(config, params, pixels),
        layers: applyViTLayers(config, params, pixels, [0, 1]),
      };
    },
    { x: spec(only.shape) },
    { bind: { params: parameters } },
  );
  const x = { ...only, dtype: "float32" as const, data: Float32Array.from(only.data) };
  const { last, layers } = await graph.run({ x });
  graph.dispose();
  return { last: last.data, layers: layers.map(({ data }) => data) };
}

describe("features", () => {
  test("of any layers, with and without the final normalisation", async () => {
    const only = rows(images, 0, 1);
    const { parameters } = encoder;
    const bias = parameters["norm.bias"]!.data;
    bias.set(bias.map((_, i) => i / 10)); // so that the normalisation shows
    const { last, layers } = await plain(only);
    const depth = encoder.config.depth;
    const raw = await encoder.features(only, { layer: [1, -depth], norm: false });
    expect(largestDifference(raw[0]!.data, layers[1]!)).toBeLessThan(1e-5);
    expect(largestDifference(raw[1]!.data, layers[0]!)).toBeLessThan(1e-5);
    const normed = await encoder.features(only, { layer: depth - 1 });
    expect(largestDifference(normed.data, last)).toBeLessThan(1e-5);
    const first = await encoder.features(only, { layer: 0 });
    expect(largestDifference(first.data, layers[0]!)).toBeGreaterThan(0.01);
  });

  test("pooled in the graph are the parts and the mean of all tokens", async () => {
    const only = rows(images, 0, 3);
    const all = await encoder.features(only);
    const [n = 0, t = 0, d = 0] = all.shape;
    const registers = encoder.config.registers;
    const tokens = (i: number, from: number, to: number) =>
      all.data.slice((i * t + from) * d, (i * t + to) * d);
    const expected = {
      patches: [t - 1 - registers, (i: number) => tokens(i, 1 + registers, t)],
      registers: [registers, (i: number) => tokens(i, 1, 1 + registers)],
      cls: [0, (i: number) => tokens(i, 0, 1)],
    } as const;
    for (const [pool, [count, values]] of Object.entries(expected)) {
      const part = await encoder.features(only, { pool: pool as "cls" });
      expect(part.shape).toEqual(count ? [n, count, d] : [n, d]);
      for (let i = 0; i < n; i++) {
        expect(largestDifference(rows(part, i, i + 1).data, values(i))).toBeLessThan(1e-5);
      }
    }
    const mean = await encoder.features(only, { pool: "mean" });
    const patches = tokens(2, 1 + registers, t);
    const byHand = Float32Array.from({ length: d }, (_, j) => {
      let sum = 0;
      for (let k = j; k < patches.length; k += d) sum += patches[k]!;
      return sum / (patches.length / d);
    });
    expect(largestDifference(rows(mean, 2, 3).data, byHand)).toBeLessThan(1e-5);
  });

  test("of layers and pooling that do not exist are refused", async () => {
    const only = rows(images, 0, 1);
    const depth = encoder.config.depth;
    await expect(encoder.features(only, { layer: depth })).rejects.toThrow(
      `layer: expected whole numbers from -${depth} to ${depth - 1}, got ${depth}`,
    );
    await expect(encoder.features(only, { layer: [] })).rejects.toThrow(/got none/);
    await expect(encoder.features(only, { layer: [0, -depth] })).rejects.toThrow(/each block once/);
    await expect(encoder.features(only, { pool: "max" as "cls" })).rejects.toThrow(/pool.*got max/);
    const without = createEncoder({ ...encoder.config, registers: 0 }, createRandom(0, "w"));
    await expect(without.features(only, { pool: "registers" })).rejects.toThrow(/register/);
  });
});

describe("featuresOf", () => {
  test("paths, bytes, records and pixels, in order, in batches that are full", async () => {
    const path = join(folder, "1.png");
    const png = async (i: number) => encodePng(imageOf(i));
    await writeFile(path, await png(1));
    const bytes = await png(2);
    const lazy = { key: "d", read: () => png(3) };
    async function* source(): AsyncGenerator<ImageInput> {
      yield* [imageOf(0), path, bytes, lazy, { key: "e", bytes: await png(4) }];
    }
    const expected = await encoder.features(images, { pool: "cls" });
    const keys: string[] = [];
    let done = 0;
    for await (const batch of encoder.featuresOf(source(), { pool: "cls", transform: {} })) {
      expect(batch.features.shape).toEqual([Math.min(2, 5 - done), encoder.width]);
      const wanted = rows(expected, done, done + batch.keys.length);
      expect(largestDifference(batch.features.data, wanted.data)).toBeLessThan(1e-5);
      expect(batch.indices).toEqual(batch.keys.map((_, i) => done + i));
      keys.push(...batch.keys);
      done += batch.keys.length;
    }
    expect(keys).toEqual(["0", path, "2", "d", "e"]);
  });

  test("a list of layers gives an array for each; images are transformed as the model wants them", async () => {
    const stream = encoder.featuresOf([imageOf(0)], { layer: [0, 1], pool: "mean" });
    for await (const { features } of stream) {
      expect(features.map(({ shape }) => shape)).toEqual([
        [1, encoder.width],
        [1, encoder.width],
      ]);
    }
    const [batch] = await collect(encoder.featuresOf([imageOf(0)], { pool: "patches" }));
    const [rows, columns] = patchGrid(encoder.config);
    expect(batch!.features.shape[1]).toBe(rows * columns);
  });

  test("images of another size begin a new batch", async () => {
    const small: Image = reshape(formulaImages(1, 28, 28), [28, 28, 3]);
    const source = [imageOf(0), imageOf(1), imageOf(2), small, imageOf(3)];
    const batches = await collect(encoder.featuresOf(source, { pool: "patches", transform: {} }));
    expect(batches.map(({ keys }) => keys.join())).toEqual(["0,1", "2", "3", "4"]);
    const exact = await encoder.features(rows(images, 3, 4), { pool: "patches" });
    expect(largestDifference(batches[3]!.features.data, exact.data)).toBeLessThan(1e-5);
  });

  test("broken images raise, or are left out and counted by cause", async () => {
    const odd: Image = reshape(formulaImages(1, 30, 28), [30, 28, 3]);
    const source = (): ImageInput[] => [
      imageOf(0),
      { key: "broken", bytes: Uint8Array.of(1, 2, 3) },
      join(folder, "absent.png"),
      odd,
      imageOf(4),
    ];
    await expect(collect(encoder.featuresOf(source(), { transform: {} }))).rejects.toThrow(
      /broken/,
    );
    await expect(collect(encoder.featuresOf([odd], { transform: {} }))).rejects.toThrow(
      /^0: images: expected height and width to be multiples of .* got 30x28/,
    );
    const told: string[] = [];
    const stream = encoder.featuresOf(source(), {
      transform: {},
      onError: "skip",
      onSkip: ({ key }) => told.push(key),
    });
    const batches = await collect(stream);
    expect(batches.map(({ indices }) => indices)).toEqual([[0, 4]]);
    expect(told).toEqual(["broken", join(folder, "absent.png"), "3"]);
    expect(stream.skipped()).toEqual({ "bad-format": 1, "not-found": 1, "bad-input": 1 });
  });

  test("an abort ends it, and a consumer that stops early closes the source", async () => {
    const controller = new AbortController();
    let closed = false;
    async function* endless(): AsyncGenerator<ImageInput> {
      try {
        for (;;) yield imageOf(0);
      } finally {
        closed = true;
      }
    }
    for await (const _ of encoder.featuresOf(endless(), { transform: {} })) break;
    expect(closed).toBe(true);
    const { signal } = controller;
    const run = (async () => {
      for await (const _ of encoder.featuresOf(endless(), { transform: {}, signal })) {
        controller.abort(new Error("enough"));
      }
    })();
    const aborted = { code: "aborted", cause: new Error("enough") };
    await expect(run).rejects.toMatchObject(aborted);
    await expect(encoder.features(images, { signal })).rejects.toMatchObject(aborted);
    await expect(collect(encoder.featuresOf([], { signal }))).rejects.toMatchObject(aborted);
    const later = new AbortController();
    const during = encoder.features(images, { signal: later.signal });
    later.abort(new Error("enough"));
    await expect(during).rejects.toMatchObject(aborted);
  });

  test("a single image in place of a list is refused", async () => {
    const one = (source: unknown) => errorOf(collect(encoder.featuresOf(source as ImageInput[])));
    expect((await one("cat.jpg")).message).toMatch(/got string. put a single one into a list/);
    expect((await one(new Uint8Array(3))).message).toMatch(/got Uint8Array/);
  });
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
