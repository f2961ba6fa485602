import {
  type Encoder,
  type FeatureExtractor,
  type ImageBatch,
  type Images,
  ndarray,
  type Progress,
  rows,
  toFloat32,
} from "@aligntok/core";
import {
  computeFeatureStatistics,
  createEncoderExtractor,
  createMoments,
  meanPool,
} from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import { generateImagePair } from "./generated.ts";

const [images] = generateImagePair(1, [10, 4, 4, 3], 5);

/** Mean colour: the mean over pixels of each channel. */
const meanColour: FeatureExtractor = {
  name: "mean-colour",
  width: 3,
  extract: async (batch) => meanPool(toFloat32(batch)),
};

async function* batches(sizes: readonly number[]): AsyncGenerator<Images> {
  let start = 0;
  for (const size of sizes) {
    yield rows(images, start, start + size);
    start += size;
  }
}

describe("feature statistics", () => {
  it("are the moments of the features, labelled, for any batch size", async () => {
    const moments = createMoments(3);
    moments.add(await meanColour.extract(images));
    for (const sizes of [[10], [1, 2, 7], new Array<number>(10).fill(1)]) {
      expect(await computeFeatureStatistics(batches(sizes), meanColour)).toEqual({
        extractor: "mean-colour",
        count: 10,
        mean: moments.mean(),
        covariance: moments.covariance(),
      });
    }
  });

  it("take the batches of an image source, and report progress", async () => {
    const source: ImageBatch[] = [
      { images: rows(images, 0, 4), keys: ["a", "b", "c", "d"] },
      { images: rows(images, 4, 10), keys: ["e", "f", "g", "h", "i", "j"] },
    ];
    const seen: Progress[] = [];
    const found = await computeFeatureStatistics(source, meanColour, {
      onProgress: (progress) => seen.push(progress),
    });
    expect(found).toEqual(await computeFeatureStatistics([images], meanColour));
    expect(seen).toEqual([
      { task: "mean-colour features", done: 4 },
      { task: "mean-colour features", done: 10 },
    ]);
  });

  it("stop when aborted, and close the source", async () => {
    const controller = new AbortController();
    let closed = false;
    async function* endless(): AsyncGenerator<Images> {
      try {
        for (;;) yield images;
      } finally {
        closed = true;
      }
    }
    const running = computeFeatureStatistics(endless(), meanColour, {
      signal: controller.signal,
      onProgress: ({ done }) => done >= 50 && controller.abort(),
    });
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    expect(closed).toBe(true);
  });

  it("refuse an empty source and an extractor that loses images", async () => {
    await expect(computeFeatureStatistics([], meanColour)).rejects.toThrow("got 0");
    const lossy = { ...meanColour, extract: async () => ndarray(new Float32Array(3), [1, 3]) };
    await expect(computeFeatureStatistics([images], lossy)).rejects.toThrow(
      "mean-colour: expected 10 feature vectors, got [1,3]",
    );
  });
});

describe("pooling", () => {
  const tokens = ndarray(Float32Array.of(100, 200, 1, 2, 3, 6, -100, 0, 5, 5, 7, 9), [2, 3, 2]);
  const encoder: Encoder = {
    config: {},
    patchSize: 2,
    width: 2,
    prefixTokens: 1,
    features: async () => tokens,
    dispose() {},
  };

  it("averages patch tokens without the prefix, or takes the class token, and says so in the name", async () => {
    const mean = createEncoderExtractor(encoder, { name: "tiny" });
    expect(mean).toMatchObject({ name: "tiny/mean", width: 2 });
    expect(await mean.extract(images)).toEqual(ndarray(Float32Array.of(2, 4, 6, 7), [2, 2]));
    const cls = createEncoderExtractor(encoder, { name: "tiny", pool: "cls" });
    expect(cls.name).toBe("tiny/cls");
    expect(await cls.extract(images)).toEqual(ndarray(Float32Array.of(100, 200, -100, 0), [2, 2]));
    expect(() =>
      createEncoderExtractor({ ...encoder, prefixTokens: 0 }, { name: "x", pool: "cls" }),
    ).toThrow("expected an encoder with a class token");
  });

  it("averages latents over both sides", () => {
    const latents = ndarray(Float32Array.of(1, 10, 2, 20, 3, 30, 4, 40), [1, 2, 2, 2]);
    expect(meanPool(latents)).toEqual(ndarray(Float32Array.of(2.5, 25), [1, 2]));
    expect(() => meanPool(latents, { start: 4 })).toThrow("positions 4 to 4, got [1,2,2,2]");
  });
});
