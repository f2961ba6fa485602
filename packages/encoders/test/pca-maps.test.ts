import { createRandom, ndarray } from "@aligntok/core";
import { expect, test } from "vitest";
import { computePcaMaps } from "../src/index.ts";

/** Maps whose variance lies along three known directions, in descending strength. */
function mapsAlong(directions: readonly (readonly number[])[], strengths: readonly number[]) {
  const random = createRandom(3, "pca-test");
  const [n, h, w, d] = [2, 6, 6, directions[0]!.length];
  const coordinates = Array.from({ length: n * h * w }, () =>
    strengths.map((strength) => strength * random.normal()),
  );
  const data = new Float32Array(n * h * w * d);
  for (const [i, point] of coordinates.entries()) {
    for (let j = 0; j < d; j++) {
      data[i * d + j] = 5 + point.reduce((sum, c, k) => sum + c * directions[k]![j]!, 0);
    }
  }
  return { maps: ndarray(data, [n, h, w, d]), coordinates };
}

test("each colour is the projection on one component, strongest first", () => {
  const half = Math.SQRT1_2;
  const directions = [
    [0, half, half, 0, 0],
    [1, 0, 0, 0, 0],
    [0, 0, 0, 0.6, 0.8],
  ];
  const { maps, coordinates } = mapsAlong(directions, [8, 3, 1]);
  const colors = computePcaMaps(maps);
  expect(colors.shape).toEqual([2, 6, 6, 3]);
  for (const channel of [0, 1, 2]) {
    const shown = coordinates.map((_, i) => colors.data[i * 3 + channel]!);
    const wanted = coordinates.map((point) => point[channel]!);
    expect(correlation(shown, wanted)).toBeGreaterThan(0.9); // colours are clipped at two deviations
  }
});

test("equal inputs give equal pictures, and a shift or a scale changes nothing", () => {
  const { maps } = mapsAlong(
    [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
    [4, 2, 1],
  );
  const moved = { ...maps, data: maps.data.map((value) => value * 2 + 64) };
  expect(computePcaMaps(maps)).toEqual(computePcaMaps(maps));
  const [a, b] = [computePcaMaps(maps).data, computePcaMaps(moved).data];
  expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThanOrEqual(1);
});

test("constant maps are gray, not NaN", () => {
  const maps = ndarray(new Float32Array(2 * 2 * 4).fill(3), [1, 2, 2, 4]);
  expect(new Set(computePcaMaps(maps).data)).toEqual(new Set([128]));
});

test("two channels are refused", () => {
  expect(() => computePcaMaps(ndarray(new Float32Array(8), [1, 2, 2, 2]))).toThrow("d >= 3");
});

function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((x, y) => x + y) / values.length;
  const [ma, mb] = [mean(a), mean(b)];
  const dot = (x: readonly number[], mx: number, y: readonly number[], my: number) =>
    x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0);
  return dot(a, ma, b, mb) / Math.sqrt(dot(a, ma, a, ma) * dot(b, mb, b, mb));
}
