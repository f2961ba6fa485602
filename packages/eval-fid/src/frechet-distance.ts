/**
 * Fréchet distance between two sets of features, taken as normal distributions (Dowson and Landau, 1982;
 * Heusel et al., 2017, call it FID when the features are Inception's):
 *
 *   |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)
 *
 * With S1 = L L^T, S1 S2 has the non-zero eigenvalues of the symmetric L^T S2 L, so the trace of the root is the
 * sum of their square roots: real and never NaN, where a general matrix root of S1 S2 turns complex. L comes
 * from a Cholesky factorisation with diagonal pivoting that stops at the numerical rank r, so fewer samples
 * than dimensions cost less, not more: the eigenproblem is r x r.
 */
import { check, ndarray } from "@aligntok/core";
import type { MomentValues } from "./moments.ts";
import { computeSymmetricEigenvalues } from "./symmetric-eigenvalues.ts";

/** Mean and covariance of the features of a set of images, labelled by the network that computed them. */
export interface FeatureStatistics extends MomentValues {
  /** Name of the feature extractor. */
  readonly extractor: string;
}

/** A distance never travels without its extractor and sample counts: without them the number means nothing. */
export interface FrechetDistance {
  readonly name: "fd";
  /** Name of the feature extractor of both sides. */
  readonly extractor: string;
  /** At least 0, in squared units of the features; biased upwards for few samples. */
  readonly value: number;
  /** Number of samples of the first and the second set. */
  readonly samples: readonly [number, number];
}

/**
 * Fréchet distance of two sets; symmetric up to rounding, about 0 (1e-8 of the traces) for identical ones.
 *
 * Time grows with min(N, D)^3: about 10 ms at 192, 8 s at 2048.
 *
 * @throws AlignTokError `bad-input` when extractors or widths differ, a set has fewer than 2 samples, or a value is not finite.
 */
export function computeFrechetDistance(
  first: FeatureStatistics,
  second: FeatureStatistics,
): FrechetDistance {
  checkStatistics(first);
  checkStatistics(second);
  check(
    first.extractor === second.extractor && first.mean.data.length === second.mean.data.length,
    () =>
      `frechet distance: expected two sets of one extractor, got ${first.extractor} [${first.mean.shape}] and ${second.extractor} [${second.mean.shape}]. compute both with the same extractor`,
  );
  const a = first.covariance.data;
  const b = second.covariance.data;
  const width = first.mean.data.length;

  let distance = 0;
  for (let i = 0; i < width; i++) {
    distance += (first.mean.data[i]! - second.mean.data[i]!) ** 2;
    distance += a[i * width + i]! + b[i * width + i]!;
  }
  // The set with fewer samples has the lower rank: factor that one.
  const root = first.count <= second.count ? traceOfRoot(a, b, width) : traceOfRoot(b, a, width);
  return {
    name: "fd",
    extractor: first.extractor,
    value: Math.max(0, distance - 2 * root),
    samples: [first.count, second.count],
  };
}

function checkStatistics({ extractor, count, mean, covariance }: FeatureStatistics): void {
  const width = mean.data.length;
  check(
    count >= 2,
    () => `${extractor} statistics: expected at least 2 samples, got ${count}. give more images`,
  );
  check(
    mean.shape.length === 1 && covariance.shape.join() === `${width},${width}`,
    () =>
      `${extractor} statistics: expected mean [D] and covariance [D,D], got [${mean.shape}] and [${covariance.shape}]`,
  );
  check(
    mean.data.every(Number.isFinite) && covariance.data.every(Number.isFinite),
    () => `${extractor} statistics: expected finite numbers, got NaN or infinity. recompute them`,
  );
}

/** tr (A B)^(1/2) of two symmetric positive semidefinite matrices. */
function traceOfRoot(a: Float64Array, b: Float64Array, width: number): number {
  // Both are scaled to a largest diagonal of 1, so that no product over- or underflows.
  const scaleA = largestDiagonal(a, width);
  const scaleB = largestDiagonal(b, width);
  if (scaleA <= 0 || scaleB <= 0) return 0;

  const { factor, order, rank } = pivotedCholesky(a, width, scaleA);
  const product = multiplyByFactor(b, scaleB, factor, order, rank);
  const eigenvalues = computeSymmetricEigenvalues(
    ndarray(lowerOfProduct(factor, product, rank), [rank, rank], "float64"),
  );
  let sum = 0;
  for (const value of eigenvalues) sum += Math.sqrt(Math.max(0, value)); // below 0 only by rounding
  return sum * Math.sqrt(scaleA) * Math.sqrt(scaleB);
}

function largestDiagonal(matrix: Float64Array, width: number): number {
  let largest = 0;
  for (let i = 0; i < width; i++) largest = Math.max(largest, matrix[i * width + i]!);
  return largest;
}

/**
 * matrix / scale = P L L^T P^T with L lower trapezoidal, `(width, rank)` stored in rows of `rank`; row i of L belongs
 * to row `order[i]` of the matrix. Stops where the largest remaining variance is rounding noise (Higham, 1990).
 */
function pivotedCholesky(
  matrix: Float64Array,
  width: number,
  scale: number,
): { factor: Float64Array; order: Int32Array; rank: number } {
  const rows = new Float64Array(width * width);
  const order = Int32Array.from({ length: width }, (_, i) => i);
  const rest = Float64Array.from({ length: width }, (_, i) => matrix[i * width + i]! / scale);
  const noise = width * Number.EPSILON;

  let rank = 0;
  for (; rank < width; rank++) {
    let best = rank;
    for (let i = rank + 1; i < width; i++) if (rest[order[i]!]! > rest[order[best]!]!) best = i;
    const pivot = order[best]!;
    if (rest[pivot]! <= noise) break;
    order[best] = order[rank]!;
    order[rank] = pivot;
    const root = Math.sqrt(rest[pivot]!);
    rows[pivot * width + rank] = root;
    for (let i = rank + 1; i < width; i++) {
      const row = order[i]!;
      const known = dot(rows, row * width, pivot * width, rank);
      const value = (matrix[row * width + pivot]! / scale - known) / root;
      rows[row * width + rank] = value;
      rest[row]! -= value * value;
    }
  }
  const factor = new Float64Array(width * rank);
  for (let i = 0; i < width; i++) {
    const start = order[i]! * width;
    factor.set(rows.subarray(start, start + rank), i * rank);
  }
  return { factor, order, rank };
}

function dot(x: Float64Array, i: number, j: number, length: number): number {
  let even = 0;
  let odd = 0;
  let k = 0;
  for (; k + 2 <= length; k += 2) {
    even += x[i + k]! * x[j + k]!;
    odd += x[i + k + 1]! * x[j + k + 1]!;
  }
  return k < length ? even + odd + x[i + k]! * x[j + k]! : even + odd;
}

/** (P^T B P / scale) L, `(width, rank)`; four rows of L at a time, skipping the zeros above its diagonal. */
function multiplyByFactor(
  b: Float64Array,
  scale: number,
  factor: Float64Array,
  order: Int32Array,
  rank: number,
): Float64Array {
  const width = order.length;
  const out = new Float64Array(width * rank);
  for (let j = 0; j < width; j += 4) {
    const group = Math.min(4, width - j);
    const length = Math.min(j + group, rank); // row j + 3 has the most non-zeros
    const f0 = j * rank;
    const f1 = group > 1 ? f0 + rank : f0;
    const f2 = group > 2 ? f1 + rank : f0;
    const f3 = group > 3 ? f2 + rank : f0;
    for (let i = 0; i < width; i++) {
      const row = order[i]! * width;
      const b0 = b[row + order[j]!]! / scale;
      const b1 = group > 1 ? b[row + order[j + 1]!]! / scale : 0;
      const b2 = group > 2 ? b[row + order[j + 2]!]! / scale : 0;
      const b3 = group > 3 ? b[row + order[j + 3]!]! / scale : 0;
      const o = i * rank;
      for (let k = 0; k < length; k++) {
        out[o + k]! +=
          b0 * factor[f0 + k]! + b1 * factor[f1 + k]! + b2 * factor[f2 + k]! + b3 * factor[f3 + k]!;
      }
    }
  }
  return out;
}

/** Lower triangle of L^T W, `(rank, rank)`; four rows of both at a time, skipping the zeros of L. */
function lowerOfProduct(factor: Float64Array, product: Float64Array, rank: number): Float64Array {
  const width = factor.length / rank;
  const out = new Float64Array(rank * rank);
  for (let i = 0; i < width; i += 4) {
    const group = Math.min(4, width - i);
    const used = Math.min(i + group, rank);
    const r0 = i * rank;
    const r1 = group > 1 ? r0 + rank : r0;
    const r2 = group > 2 ? r1 + rank : r0;
    const r3 = group > 3 ? r2 + rank : r0;
    for (let r = 0; r < used; r++) {
      const l0 = factor[r0 + r]!;
      const l1 = group > 1 ? factor[r1 + r]! : 0;
      const l2 = group > 2 ? factor[r2 + r]! : 0;
      const l3 = group > 3 ? factor[r3 + r]! : 0;
      const o = r * rank;
      for (let k = 0; k <= r; k++) {
        out[o + k]! +=
          l0 * product[r0 + k]! +
          l1 * product[r1 + k]! +
          l2 * product[r2 + k]! +
          l3 * product[r3 + k]!;
      }
    }
  }
  return out;
}
