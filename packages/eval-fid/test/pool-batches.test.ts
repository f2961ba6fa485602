import { ndarray } from "@aligntok/core";
import { type LatentBatch, poolBatches } from "@aligntok/eval-fid";
import { expect, it } from "vitest";
import { generateFeatures } from "./generated.ts";

/** 10 images of 2 x 3 positions and 4 channels, in batches. */
async function* stream(sizes: readonly number[], labelled = true): AsyncGenerator<LatentBatch> {
  const { data } = generateFeatures(1, 60, 4);
  let start = 0;
  for (const n of sizes) {
    const latents = ndarray(data.slice(start * 24, (start + n) * 24), [n, 2, 3, 4]);
    const labels = Int32Array.from({ length: n }, (_, i) => start + i);
    yield { latents, ...(labelled && { labels }) };
    start += n;
  }
}

it("averages all positions of each image, however the stream is cut", async () => {
  const { features, labels } = await poolBatches(stream([4, 1, 5]));
  const { data } = generateFeatures(1, 60, 4);
  expect(features.shape).toEqual([10, 4]);
  for (const [n, c] of [
    [0, 0],
    [4, 3],
    [9, 2],
  ] as const) {
    let mean = 0;
    for (let p = 0; p < 6; p++) mean += data[n * 24 + p * 4 + c]! / 6;
    expect(features.data[n * 4 + c]).toBeCloseTo(mean, 6);
  }
  expect([...labels!]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(await poolBatches(stream([10]))).toEqual({ features, labels });
  expect((await poolBatches(stream([10], false))).labels).toBeUndefined();
});

it("refuses streams that cannot be pooled", async () => {
  await expect(poolBatches([])).rejects.toThrow("at least one batch");
  const latents = generateFeatures(1, 2, 4);
  await expect(poolBatches([{ latents, labels: Int32Array.of(1) }])).rejects.toThrow("2 labels");
  const mixed = [{ latents, labels: Int32Array.of(1, 2) }, { latents }];
  await expect(poolBatches(mixed)).rejects.toThrow("in all 2 batches or in none, got 1");
  const signal = AbortSignal.abort();
  await expect(poolBatches(stream([10]), { signal })).rejects.toMatchObject({ code: "aborted" });
});
