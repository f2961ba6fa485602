import { readFileSync } from "node:fs";
import { AlignTokError, type Denoiser, ndarray } from "@aligntok/core";
import { describe, expect, it, vi } from "vitest";
import { createTimeGrid, guide, integrateEuler, sampleLatents } from "../src/sample.ts";

const golden = JSON.parse(
  readFileSync(new URL("fixtures/sample.json", import.meta.url), "utf8"),
) as {
  noise: number[];
  labels: number[];
  cases: {
    points: number;
    timestepShift: number;
    cfgScale: number;
    cfgChannels: number | "all";
    cfgIntervalStart: number;
    grid: number[];
    samples: number[];
  }[];
};

const nullLabel = 10;
const latentShape = [2, 2, 5] as const;

/** The velocity field of tools/golden/diffusion-sample.py. */
const denoiser: Denoiser = {
  nullLabel,
  async velocity(latents, times, labels) {
    const [, h, w, d] = latents.shape as [number, number, number, number];
    const data = latents.data.map((x, i) => {
      const sample = Math.floor(i / (h * w * d));
      const c = i % d;
      return Math.sin(x + 0.3 * c) * (1 + 0.1 * labels[sample]!) + times[sample]! * (c - 1.5);
    });
    return ndarray(data, latents.shape);
  },
};

describe("sampleLatents", () => {
  it.each(golden.cases)("matches NumPy: %o", async ({ grid, samples, ...options }) => {
    expect(maxDifference(createTimeGrid(options.points, options.timestepShift), grid)).toBeLessThan(
      1e-6,
    );
    const drawn = await integrateEuler(
      denoiser,
      ndarray(Float32Array.from(golden.noise), [3, ...latentShape]),
      { ...options, labels: Int32Array.from(golden.labels) },
    );
    expect(drawn.shape).toEqual([3, ...latentShape]);
    expect(maxDifference(drawn.data, samples)).toBeLessThan(2e-5);
  });

  it("gives a sample that depends on its seed and index, not on the batch size", async () => {
    const options = { labels: [1, 2, 3, 4, 5], latentShape, points: 4, cfgScale: 2, seed: 9 };
    const whole = await sampleLatents(denoiser, { ...options, batchSize: 5 });
    const parts = await sampleLatents(denoiser, { ...options, batchSize: 2 });
    expect(parts.data).toEqual(whole.data);
    const other = await sampleLatents(denoiser, { ...options, seed: 10 });
    expect(other.data).not.toEqual(whole.data);
  });

  it("asks for the unconditional velocity only where guidance acts", async () => {
    const velocity = vi.fn(denoiser.velocity);
    const options = { labels: [1], latentShape, points: 11, cfgScale: 3, cfgIntervalStart: 0.45 };
    await sampleLatents({ nullLabel, velocity }, options);
    const nulls = velocity.mock.calls.filter(([, , labels]) => labels[0] === nullLabel);
    expect(nulls.map(([, times]) => Math.round(times[0]! * 10))).toEqual([5, 6, 7, 8, 9]);
    expect(velocity).toHaveBeenCalledTimes(15);
  });

  it("stops by its signal and reports each step", async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const run = sampleLatents(denoiser, {
      labels: [1, 2],
      latentShape,
      points: 11,
      batchSize: 1,
      signal: controller.signal,
      onProgress: ({ done, total }) => {
        seen.push(done);
        expect(total).toBe(20);
        if (done === 13) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ code: "aborted" });
    expect(seen).toEqual(Array.from({ length: 13 }, (_, i) => i + 1));
  });

  it("refuses what it cannot draw", async () => {
    const draw = (options: object) =>
      sampleLatents(denoiser, { labels: [1], latentShape, points: 3, ...options });
    await expect(draw({ labels: [11] })).rejects.toThrow("expected labels of 0 to 10");
    await expect(draw({ labels: [1.5] })).rejects.toThrow("got 1.5");
    await expect(draw({ points: 1 })).rejects.toThrow("at least 2 points");
    await expect(draw({ timestepShift: 0 })).rejects.toThrow("positive timestepShift");
    await expect(draw({ cfgChannels: 0 })).rejects.toThrow("cfgChannels");
    const broken: Denoiser = {
      nullLabel,
      velocity: async (x) =>
        ndarray(
          x.data.map(() => Number.NaN),
          x.shape,
        ),
    };
    const error = await sampleLatents(broken, { labels: [1], latentShape, points: 3 }).catch(
      (e: unknown) => e,
    );
    expect(AlignTokError.isInstance(error) && error.code).toBe("diverged");
  });
});

describe("guide", () => {
  const c = ndarray(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [1, 1, 2, 4]);
  const u = ndarray(Float32Array.of(0, 0, 0, 0, 1, 1, 1, 1), [1, 1, 2, 4]);

  it("acts on the first channels of every position", () => {
    const guided = guide(c, u, { scale: 2, channels: 3 });
    expect([...guided.data]).toEqual([2, 4, 6, 4, 9, 11, 13, 8]);
  });

  it("acts on all channels", () => {
    const guided = guide(c, u, { scale: 2, channels: "all" });
    expect([...guided.data]).toEqual([2, 4, 6, 8, 9, 11, 13, 15]);
  });
});

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
}
