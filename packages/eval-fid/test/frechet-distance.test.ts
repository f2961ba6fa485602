import { type NdArray, ndarray } from "@aligntok/core";
import {
  computeFrechetDistance,
  createFeatureStatistics,
  createMoments,
  type FeatureStatistics,
} from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/frechet.json" with { type: "json" };
import { generateFeatures } from "./generated.ts";

function statisticsOf(features: NdArray<"float32">, extractor = "generated"): FeatureStatistics {
  const moments = createMoments(features.shape[1]!);
  moments.add(features);
  return createFeatureStatistics(moments, extractor);
}

describe("frechet distance", () => {
  it.each(golden.frechet)("equals scipy for $n and $m samples of width $d", (expected) => {
    const { d, n, m, deficient } = expected;
    const a = statisticsOf(generateFeatures(1 + d, n, d));
    const b = statisticsOf(generateFeatures(1000 + m, m, d, { offset: 0.25, gain: 1.5 }));
    const found = computeFrechetDistance(a, b);
    expect(found).toMatchObject({ name: "fd", extractor: "generated", samples: [n, m] });
    // The nuclear norm of the centred features is exact for any rank; from covariances alone, a
    // direction without variance is known to the root of machine precision only.
    expect(Math.abs(found.value / expected.svd - 1)).toBeLessThan(deficient ? 1e-7 : 1e-11);
    expect(Math.abs(found.value / expected.sqrtm - 1)).toBeLessThan(deficient ? 1e-3 : 1e-9);
    const mirrored = computeFrechetDistance(b, a).value;
    expect(Math.abs(mirrored / found.value - 1)).toBeLessThan(deficient ? 1e-7 : 1e-11);
  });

  it.each([
    [2, 2],
    [5, 300],
    [40, 12],
    [128, 60],
    [128, 400],
  ])("is about 0 between a set of width %d, %d samples, and itself", (d, n) => {
    const a = statisticsOf(generateFeatures(3, n, d));
    const { value } = computeFrechetDistance(a, a);
    const trace = a.covariance.data.reduce((sum, x, i) => sum + (i % (d + 1) === 0 ? x : 0), 0);
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value / trace).toBeLessThan(1e-8);
  });

  it("is the squared distance of the means for sets without spread, or equal spread", () => {
    const flat = (x: number) => statisticsOf(ndarray(new Float32Array(12).fill(x), [4, 3]));
    expect(computeFrechetDistance(flat(1), flat(3)).value).toBe(12);
    const a = statisticsOf(generateFeatures(3, 50, 8));
    const shifted = {
      ...a,
      mean: ndarray(
        a.mean.data.map((x) => x + 2),
        [8],
        "float64",
      ),
    };
    expect(Math.abs(computeFrechetDistance(a, shifted).value - 32)).toBeLessThan(1e-9);
  });

  it("scales with the square of the features, far beyond float32", () => {
    const scaled = (s: FeatureStatistics, by: number): FeatureStatistics => ({
      ...s,
      mean: ndarray(
        s.mean.data.map((x) => x * by),
        s.mean.shape,
        "float64",
      ),
      covariance: ndarray(
        s.covariance.data.map((x) => x * by * by),
        s.covariance.shape,
        "float64",
      ),
    });
    const a = statisticsOf(generateFeatures(3, 30, 8));
    const b = statisticsOf(generateFeatures(4, 30, 8, { gain: 2 }));
    const { value } = computeFrechetDistance(a, b);
    for (const by of [1e-60, 1e-3, 1e60]) {
      const found = computeFrechetDistance(scaled(a, by), scaled(b, by)).value / by / by;
      expect(Math.abs(found / value - 1)).toBeLessThan(1e-10);
    }
  });

  it("counts variances over ten orders of magnitude", () => {
    const diagonal = (f: (i: number) => number): FeatureStatistics => ({
      extractor: "exact",
      count: 100,
      mean: ndarray(new Float64Array(11), [11], "float64"),
      covariance: ndarray(
        Float64Array.from({ length: 121 }, (_, at) => (at % 12 === 0 ? f(at / 12) : 0)),
        [11, 11],
        "float64",
      ),
    });
    // commuting covariances: the sum of (sqrt a - sqrt b)^2, here a geometric series
    const { value } = computeFrechetDistance(
      diagonal((i) => 10 ** -i),
      diagonal((i) => 4 * 10 ** -i),
    );
    expect(Math.abs(value / 1.1111111111 - 1)).toBeLessThan(1e-13);
  });

  it("is a number for repeated, constant and nearly constant columns", () => {
    const features = generateFeatures(5, 30, 6);
    for (let n = 0; n < 30; n++) {
      features.data[n * 6 + 1] = features.data[n * 6]!; // repeated
      features.data[n * 6 + 2] = 7; // constant
      features.data[n * 6 + 3] = 1 + (n % 2) * 2 ** -23; // one bit of noise
    }
    const a = statisticsOf(features);
    const b = statisticsOf(generateFeatures(6, 30, 6));
    for (const value of [
      computeFrechetDistance(a, b).value,
      computeFrechetDistance(b, a).value,
      computeFrechetDistance(a, a).value,
    ]) {
      expect(Number.isFinite(value)).toBe(true);
    }
  });

  it("refuses sets that cannot be compared", () => {
    const features = generateFeatures(5, 30, 6);
    const a = statisticsOf(features, "dino");
    expect(() => computeFrechetDistance(a, statisticsOf(features, "inception"))).toThrow(
      "expected two sets of one extractor, got dino [6] and inception [6]",
    );
    expect(() =>
      computeFrechetDistance(a, statisticsOf(generateFeatures(5, 30, 5), "dino")),
    ).toThrow("got dino [6] and dino [5]");
    expect(() => computeFrechetDistance(a, { ...a, count: 1 })).toThrow(
      "at least 2 samples, got 1",
    );
    const nan = ndarray(a.mean.data.with(2, Number.NaN), [6], "float64");
    expect(() => computeFrechetDistance(a, { ...a, mean: nan })).toThrow("finite numbers");
    expect(() =>
      computeFrechetDistance(a, { ...a, covariance: ndarray(new Float64Array(6), [6], "float64") }),
    ).toThrow("expected mean [D] and covariance [D,D]");
  });
});
