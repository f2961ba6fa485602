import { type NdArray, ndarray } from "@aligntok/core";
import { computeCknna } from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/cknna.json" with { type: "json" };
import { generateFeatures } from "./generated.ts";

type Case = Pick<(typeof golden)[number], "n" | "widths" | "shared">;

/** Two sets of features; the first `shared` columns of the second hold those of the first too. */
function generatePair({ n, widths, shared }: Case): [NdArray<"float32">, NdArray<"float32">] {
  const [d1 = 0, d2 = 0] = widths;
  const a = generateFeatures(n + 1, n, d1);
  const b = generateFeatures(n + 2, n, d2);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < shared; j++) b.data[i * d2 + j]! += a.data[i * d1 + j]!;
  }
  return [a, b];
}

describe("cknna", () => {
  it.each(golden)("equals a dense numpy implementation for $n samples, k $k", (expected) => {
    const { k, quantile, value } = expected;
    const [a, b] = generatePair(expected);
    expect(Math.abs(computeCknna(a, b, { k, quantile }) - value)).toBeLessThan(1e-12);
  });

  it("is 1 for what differs in scale and rotation alone, and about 0 for strangers", () => {
    const a = generateFeatures(3, 400, 12);
    const turned = a.data.map((_, i) => 4 * a.data[i - (i % 12) + (11 - (i % 12))]!);
    const same = computeCknna(a, ndarray(turned, a.shape));
    expect(same).toBeGreaterThan(0.99);
    expect(same).toBeLessThan(1); // by the term that the upstreams add to the divisor
    expect(Math.abs(computeCknna(a, generateFeatures(4, 400, 12)))).toBeLessThan(0.1);
  });

  it("does not depend on the order of the samples", () => {
    const [a, b] = generatePair({ n: 75, widths: [8, 8], shared: 6 });
    const order = Array.from({ length: 75 }, (_, i) => (i * 31) % 75);
    const shuffle = ({ data, shape }: NdArray<"float32">) =>
      ndarray(Float32Array.from(order.flatMap((i) => [...data.subarray(i * 8, i * 8 + 8)])), shape);
    expect(computeCknna(shuffle(a), shuffle(b))).toBeCloseTo(computeCknna(a, b), 12);
  });

  it("refuses what cannot be compared", () => {
    const a = generateFeatures(3, 40, 6);
    const b = generateFeatures(4, 39, 6);
    expect(() => computeCknna(a, b)).toThrow("got [40,6] and [39,6]");
    expect(() => computeCknna(a, a, { k: 40 })).toThrow("k from 2 to 39");
    expect(() => computeCknna(a, a, { k: 1 })).toThrow("got 1");
    expect(() => computeCknna(a, a, { quantile: 0 })).toThrow("quantile above 0");
    expect(() => computeCknna(ndarray(a.data, [40, 2, 3]), a)).toThrow("pool tokens");
    const nan = ndarray(a.data.with(13, Number.NaN), a.shape);
    expect(() => computeCknna(a, nan)).toThrow("got NaN in row 2");
    const zero = ndarray(a.data.slice().fill(0, 0, 6), a.shape);
    expect(() => computeCknna(zero, a)).toThrow("zeros in row 0");
    const constant = ndarray(new Float32Array(240).fill(1), a.shape);
    expect(() => computeCknna(constant, a, { k: 39 })).toThrow("samples that differ");
  });
});
