import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, ndarray, zeros } from "@aligntok/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  computeLatentStats,
  denormalizeLatents,
  normalizeLatents,
  readLatents,
  writeLatents,
} from "../src/latents.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-latents-"));
});
afterAll(() => rm(folder, { recursive: true }));

const random = (name: string, shape: number[]) =>
  ndarray(createRandom(0, name).normals(shape.reduce((a, b) => a * b, 1)), shape);

describe("latent statistics", () => {
  it("are those of torch.std: unbiased, a channel at a time", () => {
    // torch.tensor([[1., 10.], [3., 10.], [8., 10.]]).std(0) == [3.6055513, 0]
    const latents = ndarray(Float32Array.of(1, 10, 3, 10, 8, 10), [3, 1, 1, 2]);
    const stats = computeLatentStats(latents);
    expect([...stats.mean]).toEqual([4, 10]);
    expect(stats.std[0]).toBeCloseTo(3.6055513, 6);
    expect(stats.std[1]).toBe(0);
    expect(normalizeLatents(latents, stats).data[1]).toBe(0);
  });

  it("survive a large mean, and normalising is undone by denormalising", () => {
    const latents = random("large", [8, 4, 4, 3]);
    for (let i = 0; i < latents.data.length; i++) latents.data[i]! += 1000 * (i % 3);
    const stats = computeLatentStats(latents);
    expect(stats.std[2]).toBeGreaterThan(0.8);
    expect(stats.std[2]).toBeLessThan(1.2);
    const normal = normalizeLatents(latents, stats);
    const again = computeLatentStats(normal);
    expect(Math.abs(again.mean[2]!)).toBeLessThan(1e-4);
    expect(again.std[2]).toBeCloseTo(1, 4);
    const back = denormalizeLatents(normal, stats);
    expect(back.data.every((z, i) => Math.abs(z - latents.data[i]!) < 1e-3)).toBe(true);
  });

  it("must fit the latents", () => {
    const stats = { mean: new Float32Array(3), std: new Float32Array(4) };
    expect(() => normalizeLatents(zeros([1, 2, 2, 4]), stats)).toThrow("4 channels, got 3 means");
  });
});

describe("latent files", () => {
  it("hold LightningDiT's keys, layout and dtypes", async () => {
    const path = join(folder, "one.safetensors");
    const latents = ndarray(
      Float32Array.from({ length: 12 }, (_, i) => i),
      [1, 2, 3, 2],
    );
    await writeLatents(path, { latents, labels: Int32Array.of(7) });
    const { tensors } = await readSafetensors(path);
    expect(Object.keys(tensors).sort()).toEqual(["labels", "latents"]);
    expect(tensors.latents!.shape).toEqual([1, 2, 2, 3]);
    expect([...(tensors.latents!.data as Float32Array)]).toEqual([
      0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11,
    ]);
    expect(tensors.labels).toMatchObject({ dtype: "int64", shape: [1] });
    expect(await readLatents(path)).toEqual({ latents, labels: Int32Array.of(7) });
  });

  it("are read shard by shard in the order of their names", async () => {
    const shards = ["a", "b"].map((name) => ({
      latents: random(name, [3, 2, 4, 5]),
      flipped: random(`${name}-flip`, [3, 2, 4, 5]),
      labels: Int32Array.of(1, 2, 3),
    }));
    const shardFolder = await mkdtemp(join(folder, "shards-"));
    await writeLatents(join(shardFolder, "latents_rank00_shard001.safetensors"), shards[1]!);
    await writeLatents(join(shardFolder, "latents_rank00_shard000.safetensors"), shards[0]!);
    await writeFile(join(shardFolder, "latents_stats.pt"), "not a shard");
    const set = await readLatents(shardFolder);
    expect(set.latents.shape).toEqual([6, 2, 4, 5]);
    expect([...set.labels]).toEqual([1, 2, 3, 1, 2, 3]);
    expect(set.latents.data.subarray(120)).toEqual(shards[1]!.latents.data);
    expect(set.flipped!.data.subarray(0, 120)).toEqual(shards[0]!.flipped.data);

    const { latents, labels } = shards[0]!;
    await writeLatents(join(shardFolder, "without.safetensors"), { latents, labels });
    await expect(readLatents(shardFolder)).rejects.toThrow("in all 3 shards or in none, got 2");
  });

  it("that are something else are refused by name", async () => {
    const path = join(folder, "other.safetensors");
    await writeSafetensors(path, { latents: zeros([2, 3, 4, 4]), labels: zeros([3]) });
    await expect(readLatents(path)).rejects.toThrow(/labels \(N\), got .*labels \[3\]/);
    await expect(readLatents(join(folder, "absent"))).rejects.toMatchObject({ code: "not-found" });
    await expect(
      writeLatents(path, { latents: zeros([2, 1, 1, 1]), labels: new Int32Array(3) }),
    ).rejects.toThrow("expected 2 labels");
  });
});
