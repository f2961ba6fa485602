import { createRandom, type NdArray, ndarray, rows } from "@aligntok/core";
import { computeLatentAnalysis } from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/latents.json" with { type: "json" };
import { generateLatents, relativeError } from "./generated.ts";

describe("latent analysis", () => {
  it.each(golden)("equals numpy and scipy on $shape", async (expected) => {
    const latents = generateLatents(expected.seed, expected.shape);
    const analysis = await computeLatentAnalysis([latents]);
    expect([analysis.count, ...analysis.shape]).toEqual(expected.shape);
    for (const name of ["mean", "std", "min", "max", "skewness", "kurtosis"] as const) {
      expect(relativeError(analysis.channels[name], expected[name]), name).toBeLessThan(1e-12);
    }
    expect(relativeError(analysis.eigenvalues, expected.eigenvalues)).toBeLessThan(1e-12);
    expect(Math.abs(analysis.effectiveRank - expected.effectiveRank)).toBeLessThan(1e-9);
    const { power, frequencies } = analysis.spectrum;
    expect(power.shape).toEqual([expected.power.length, frequencies.length]);
    expect(relativeError(power.data, expected.power.flat())).toBeLessThan(1e-12);
  });

  it("does not depend on how the stream is cut", async () => {
    const latents = generateLatents(5, [9, 4, 6, 3]);
    const whole = await computeLatentAnalysis([latents]);
    async function* parts(): AsyncGenerator<NdArray<"float32">> {
      for (const [start, end] of [
        [0, 1],
        [1, 6],
        [6, 6],
        [6, 9],
      ] as const) {
        yield rows(latents, start, end);
      }
    }
    const cut = await computeLatentAnalysis(parts());
    expect(cut.count).toBe(9);
    expect(cut.covariance.data).toEqual(whole.covariance.data);
    expect(relativeError(cut.channels.kurtosis, whole.channels.kurtosis)).toBeLessThan(1e-12);
    expect(relativeError(cut.channels.skewness, whole.channels.skewness)).toBeLessThan(1e-12);
    expect(relativeError(cut.spectrum.power.data, whole.spectrum.power.data)).toBeLessThan(1e-12);
  });

  it("white noise is flat at its variance, and a wave stands in its own ring", async () => {
    const random = createRandom(1, "noise");
    const noise = ndarray(
      random.normals(400 * 16 * 16).map((x) => 5 + 2 * x),
      [400, 16, 16, 1],
    );
    const { spectrum, effectiveRank } = await computeLatentAnalysis([noise]);
    for (const power of spectrum.power.data) expect(Math.abs(power / 4 - 1)).toBeLessThan(0.1);
    expect(effectiveRank).toBeCloseTo(1, 12);

    const wave = Float32Array.from({ length: 256 }, (_, i) =>
      Math.cos((2 * Math.PI * 3 * (i % 16)) / 16),
    );
    const { power, frequencies } = (await computeLatentAnalysis([ndarray(wave, [1, 16, 16, 1])]))
      .spectrum;
    const strongest = power.data.indexOf(Math.max(...power.data));
    expect(frequencies[strongest]).toBe(3 / 16);
    for (const [ring, value] of power.data.entries())
      if (ring !== 3) expect(value).toBeLessThan(1e-12);
  });

  it("constant channels have no rank, tails or power", async () => {
    const constant = ndarray(new Float32Array(2 * 4 * 4 * 2).fill(7), [2, 4, 4, 2]);
    const { channels, effectiveRank, spectrum } = await computeLatentAnalysis([constant]);
    expect([...channels.std, ...channels.skewness, ...channels.kurtosis]).toEqual([
      0, 0, 0, 0, 0, 0,
    ]);
    expect(effectiveRank).toBe(0);
    expect(Math.max(...spectrum.power.data)).toBeLessThan(1e-12);
  });

  it("refuses other shapes, NaN and empty streams", async () => {
    const latents = generateLatents(1, [2, 4, 4, 3]);
    const other = generateLatents(1, [2, 4, 5, 3]);
    await expect(computeLatentAnalysis([latents, other])).rejects.toThrow(
      "expected [n,4,4,3] like the first batch, got [2,4,5,3]",
    );
    const flat = ndarray(latents.data, [32, 3]);
    await expect(computeLatentAnalysis([flat])).rejects.toThrow("(n, h, w, d), got [32,3]");
    await expect(computeLatentAnalysis([])).rejects.toThrow("at least one batch");
    const nan = ndarray(latents.data.with(4, Number.NaN), latents.shape);
    await expect(computeLatentAnalysis([nan])).rejects.toThrow("got NaN in row 1, column 1");
    const options = { signal: AbortSignal.abort() };
    await expect(computeLatentAnalysis([latents], options)).rejects.toMatchObject({
      code: "aborted",
    });
  });
});
