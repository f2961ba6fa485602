import { type NdArray, ndarray } from "@aligntok/core";
import { computeSymmetricEigenvalues } from "@aligntok/eval-fid";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/frechet.json" with { type: "json" };
import { generateFeatures, relativeError } from "./generated.ts";

function square(values: ArrayLike<number>): NdArray<"float64"> {
  const n = Math.sqrt(values.length);
  return ndarray(Float64Array.from(values), [n, n], "float64");
}

describe("eigenvalues", () => {
  it("equal numpy's eigvalsh for an indefinite matrix", () => {
    const x = generateFeatures(11, 30, 24).data;
    const matrix = new Float64Array(24 * 24);
    for (let i = 0; i < 24; i++) {
      for (let j = 0; j < 24; j++) {
        for (let n = 0; n < 30; n++) matrix[i * 24 + j]! += x[n * 24 + i]! * x[n * 24 + j]!;
      }
      matrix[i * 24 + i]! -= 40;
    }
    const before = matrix.slice();
    const found = computeSymmetricEigenvalues(ndarray(matrix, [24, 24], "float64"));
    expect(relativeError(found, golden.eigenvalues)).toBeLessThan(1e-14);
    expect(matrix).toEqual(before);
  });

  it("are right where the reduction degenerates", () => {
    expect([...computeSymmetricEigenvalues(square([]))]).toEqual([]);
    expect([...computeSymmetricEigenvalues(square([3]))]).toEqual([3]);
    expect([...computeSymmetricEigenvalues(square([2, 0, 0, 0, -1, 0, 0, 0, 5]))]).toEqual([
      -1, 2, 5,
    ]);
    expect(computeSymmetricEigenvalues(square(new Float64Array(25)))).toEqual(new Float64Array(5));
    expect(relativeError(computeSymmetricEigenvalues(square([0, 1, 1, 0])), [-1, 1])).toBeLessThan(
      1e-15,
    );
    const ones = computeSymmetricEigenvalues(square(new Float64Array(100).fill(1)));
    expect(relativeError(ones, [0, 0, 0, 0, 0, 0, 0, 0, 0, 10])).toBeLessThan(1e-15);
  });

  it("are right where a row is reduced already, in the middle of the reduction", () => {
    const coupled = new Float64Array(25);
    for (let i = 0; i < 5; i++) coupled[i * 6] = i + 1;
    coupled[20] = 1; // couples the first and the last
    const expected = [3 - Math.sqrt(5), 2, 3, 4, 3 + Math.sqrt(5)];
    expect(relativeError(computeSymmetricEigenvalues(square(coupled)), expected)).toBeLessThan(
      1e-15,
    );
  });

  it("converge for a matrix that fades into subnormal numbers", () => {
    const fading = [0, -1, 0, 0, -1, 0, 1e-160, 0, 0, 1e-160, 0, 1e-310, 0, 0, 1e-310, 1e-310];
    expect(relativeError(computeSymmetricEigenvalues(square(fading)), [-1, 0, 0, 1])).toBeLessThan(
      1e-15,
    );
  });

  it("converge for sparse whole numbers and subnormal ones", () => {
    const n = 5;
    const element = fc.constantFrom<number>(0, 0, 0, 1, -1, 2, 1e-160, 1e-310, 5e-324);
    fc.assert(
      fc.property(
        fc.array(element, { minLength: n * n, maxLength: n * n }),
        fc.constantFrom(1, 1e-160, 1e-320),
        (values, unit) => {
          const matrix = square(values.map((x) => x * unit));
          const trace = values.reduce((sum, x, at) => sum + (at % (n + 1) ? 0 : x * unit), 0);
          const found = computeSymmetricEigenvalues(matrix);
          const error = Math.abs(found.reduce((sum, x) => sum + x, 0) - trace);
          expect(error).toBeLessThanOrEqual(1e-14 * unit + 3e-323);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("keep the trace and the sum of squares, over 200 orders of magnitude", () => {
    const n = 7;
    const number = fc.double({ min: -1, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(number, { minLength: n * n, maxLength: n * n }),
        fc.integer({ min: -100, max: 100 }),
        (values, power) => {
          const matrix = new Float64Array(n * n);
          const unit = 10 ** power;
          let trace = 0;
          let squares = 0;
          for (let i = 0; i < n; i++) {
            for (let j = 0; j <= i; j++) {
              const x = values[i * n + j]!;
              matrix[i * n + j] = matrix[j * n + i] = x * unit;
              squares += i === j ? x * x : 2 * x * x;
            }
            trace += values[i * n + i]!;
          }
          const found = computeSymmetricEigenvalues(square(matrix)).map((x) => x / unit);
          expect(found).toEqual(found.toSorted());
          expect(Math.abs(found.reduce((a, x) => a + x, 0) - trace)).toBeLessThan(1e-13);
          expect(Math.abs(found.reduce((a, x) => a + x * x, 0) - squares)).toBeLessThan(1e-12);
        },
      ),
    );
  });

  it("refuse NaN and other shapes", () => {
    expect(() => computeSymmetricEigenvalues(square([1, 0, Number.NaN, 1]))).toThrow(
      "got NaN at row 1, column 0",
    );
    expect(() =>
      computeSymmetricEigenvalues(ndarray(new Float64Array(6), [2, 3], "float64")),
    ).toThrow("square float64 matrix, got float64 [2,3]");
  });
});
