import { ndarray, rows } from "@aligntok/core";
import { createMoments, type Moments } from "@aligntok/eval-fid";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/frechet.json" with { type: "json" };
import { generateFeatures, relativeError } from "./generated.ts";

const features = generateFeatures(7, 150, 6, { offset: 1000 });

function accumulate(start: number, end: number, cuts: readonly number[] = []): Moments {
  const moments = createMoments(6);
  const edges = [start, ...cuts.toSorted((a, b) => a - b), end];
  for (let i = 1; i < edges.length; i++) moments.add(rows(features, edges[i - 1]!, edges[i]!));
  return moments;
}

describe("moments", () => {
  it("equal numpy's mean and cov for features far from zero", () => {
    const moments = accumulate(0, 150);
    expect(moments.count).toBe(150);
    expect(relativeError(moments.mean().data, golden.moments.mean)).toBeLessThan(1e-15);
    expect(relativeError(moments.covariance().data, golden.moments.covariance)).toBeLessThan(1e-12);
  });

  it("do not depend on how the stream is cut, to the last bit", () => {
    const whole = accumulate(0, 150);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 12 }), (cuts) => {
        const cut = accumulate(0, 150, cuts);
        expect(cut.mean().data).toEqual(whole.mean().data);
        expect(cut.covariance().data).toEqual(whole.covariance().data);
      }),
    );
  });

  it("do not change by being read in between", () => {
    const read = createMoments(6);
    for (let i = 0; i < 150; i += 7) {
      read.add(rows(features, i, Math.min(150, i + 7)));
      read.mean();
      read.covariance();
    }
    expect(read.covariance().data).toEqual(accumulate(0, 150).covariance().data);
  });

  it("merge as if all had been added to one, in any order", () => {
    const whole = accumulate(0, 150);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 150 }), (cut) => {
        for (const [a, b] of [
          [accumulate(0, cut), accumulate(cut, 150)],
          [accumulate(cut, 150), accumulate(0, cut)],
        ] as const) {
          a.merge(b);
          expect(a.count).toBe(150);
          expect(relativeError(a.mean().data, whole.mean().data)).toBeLessThan(1e-14);
          expect(relativeError(a.covariance().data, whole.covariance().data)).toBeLessThan(1e-12);
        }
      }),
    );
  });

  it("go on after a merge", () => {
    const moments = accumulate(0, 10);
    moments.merge(accumulate(10, 80));
    moments.add(rows(features, 80, 150));
    const whole = accumulate(0, 150);
    expect(relativeError(moments.covariance().data, whole.covariance().data)).toBeLessThan(1e-12);
  });

  it("give a symmetric covariance", () => {
    const { data } = accumulate(0, 150).covariance();
    for (let i = 0; i < 6; i++) {
      for (let j = 0; j < i; j++) expect(data[i * 6 + j]).toBe(data[j * 6 + i]);
    }
  });

  it("refuse what they cannot use and stay as they were", () => {
    const moments = accumulate(0, 5);
    const bad = ndarray(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, Number.NaN, 1, 1, 1), [2, 6]);
    expect(() => moments.add(bad)).toThrow("expected finite numbers, got NaN in row 1, column 2");
    expect(() => moments.add(ndarray(new Float32Array(4), [1, 4]))).toThrow(
      "expected float32 [N,6], got float32 [1,4]",
    );
    expect(() => moments.merge(createMoments(5))).toThrow("width 6, got 5");
    expect(moments.covariance().data).toEqual(accumulate(0, 5).covariance().data);
    expect(() => createMoments(6).mean()).toThrow("at least 1 sample");
    expect(() => accumulate(0, 1).covariance()).toThrow("at least 2 samples, got 1");
    expect(() => createMoments(0)).toThrow("width of at least 1");
  });
});
