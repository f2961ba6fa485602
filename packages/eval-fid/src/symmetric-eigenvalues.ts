/**
 * Eigenvalues of a real symmetric matrix: Householder reduction to tridiagonal form, then implicit QL.
 *
 * Methods: Martin, Reinsch and Wilkinson (1968), TRED1 and IMTQL1 of EISPACK. Only the lower triangle is read
 * and updated, and the rank-2 update of one step is applied in the same sweep that forms the matrix-vector
 * product of the next, so the triangle passes through memory once a step instead of twice.
 */
import { AlignTokError, check, type NdArray } from "@aligntok/core";

/**
 * The eigenvalues in ascending order, with an absolute error of about machine precision times the largest.
 *
 * @param matrix `(n, n)` float64; only the lower triangle is read, and it is not changed.
 * @throws AlignTokError `bad-input` for another shape, NaN or infinity.
 */
export function computeSymmetricEigenvalues(matrix: NdArray<"float64">): Float64Array {
  const { shape, data } = matrix;
  const n = shape[0] ?? 0;
  check(
    matrix.dtype === "float64" && shape.length === 2 && shape[1] === n,
    () => `eigenvalues: expected a square float64 matrix, got ${matrix.dtype} [${shape}]`,
  );
  let largest = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const x = Math.abs(data[i * n + j]!);
      check(
        x < Number.POSITIVE_INFINITY,
        () =>
          `eigenvalues: expected finite numbers, got ${data[i * n + j]} at row ${i}, column ${j}`,
      );
      if (x > largest) largest = x;
    }
  }
  const diagonal = new Float64Array(n);
  if (largest === 0) return diagonal;
  const offDiagonal = new Float64Array(n); // element i couples i and i + 1; the last is 0
  const scale = 2 ** Math.floor(Math.log2(largest)); // a power of 2: dividing by it rounds nothing
  tridiagonalise(
    data.map((x) => x / scale),
    diagonal,
    offDiagonal,
  );
  diagonaliseTridiagonal(diagonal, offDiagonal);
  return diagonal.map((x) => x * scale).sort();
}

/** Overwrites `a`. Works from the last row upwards, so that each Householder vector is a contiguous row. */
function tridiagonalise(a: Float64Array, diagonal: Float64Array, offDiagonal: Float64Array): void {
  const n = diagonal.length;
  let u = new Float64Array(n); // Householder vector of this step
  let p = new Float64Array(n); // A u / h, then p - (u.p / 2h) u
  let lastU = new Float64Array(n); // the update of the step before, A -= lastU lastP^T + lastP lastU^T, still to be applied
  let lastP = new Float64Array(n);

  for (let i = n - 1; i >= 0; i--) {
    const row = i * n;
    for (let k = 0; k <= i; k++) a[row + k]! -= lastU[i]! * lastP[k]! + lastP[i]! * lastU[k]!;
    diagonal[i] = a[row + i]!;
    if (i === 0) break;

    let scale = 0;
    for (let k = 0; k < i; k++) scale = Math.max(scale, Math.abs(a[row + k]!));
    let h = 0;
    if (scale > 0) {
      for (let k = 0; k < i; k++) {
        u[k] = a[row + k]! / scale;
        h += u[k]! * u[k]!;
      }
      const pivot = u[i - 1]!;
      const norm = pivot >= 0 ? -Math.sqrt(h) : Math.sqrt(h);
      offDiagonal[i - 1] = scale * norm;
      h -= pivot * norm; // u.u / 2
      u[i - 1] = pivot - norm;
    } else {
      offDiagonal[i - 1] = 0; // the row is reduced already: no reflection
      u.fill(0, 0, i);
    }

    p.fill(0, 0, i);
    for (let j = 0; j < i; j++) p[j]! += applyAndMultiply(a, j * n, j, lastU, lastP, u, p);
    if (h > 0) {
      let up = 0;
      for (let k = 0; k < i; k++) {
        p[k]! /= h;
        up += u[k]! * p[k]!;
      }
      const half = up / (2 * h);
      for (let k = 0; k < i; k++) p[k]! -= half * u[k]!;
    }
    [u, lastU] = [lastU, u];
    [p, lastP] = [lastP, p];
  }
}

/** Updates row j of the triangle by the last step, adds its share above the diagonal to p, and returns (A u)_j's lower part. */
function applyAndMultiply(
  a: Float64Array,
  row: number,
  j: number,
  lastU: Float64Array,
  lastP: Float64Array,
  u: Float64Array,
  p: Float64Array,
): number {
  const lu = lastU[j]!;
  const lp = lastP[j]!;
  const uj = u[j]!;
  let dot = 0;
  for (let k = 0; k < j; k++) {
    const x = a[row + k]! - lu * lastP[k]! - lp * lastU[k]!;
    a[row + k] = x;
    dot += x * u[k]!;
    p[k]! += x * uj;
  }
  const x = a[row + j]! - 2 * lu * lp;
  a[row + j] = x;
  return dot + x * uj;
}

/** Implicit QL with Wilkinson's shift; `d` becomes the eigenvalues, `e` is overwritten. */
function diagonaliseTridiagonal(d: Float64Array, e: Float64Array): void {
  const n = d.length;
  for (let low = 0; low < n; low++) {
    for (let iteration = 0; ; iteration++) {
      let high = low;
      while (high < n - 1 && !isNegligible(e[high]!, d[high]!, d[high + 1]!)) high++;
      if (high === low) break;
      if (iteration === 60) {
        throw new AlignTokError(
          "diverged",
          `eigenvalues: expected convergence within 60 iterations, got none for eigenvalue ${low} of ${n}`,
        );
      }
      let g = (d[low + 1]! - d[low]!) / (2 * e[low]!);
      let r = Math.hypot(g, 1);
      g = d[high]! - d[low]! + e[low]! / (g + (g >= 0 ? r : -r));
      let sine = 1;
      let cosine = 1;
      let shift = 0;
      let i = high - 1;
      for (; i >= low; i--) {
        const f = sine * e[i]!;
        const b = cosine * e[i]!;
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= shift; // underflow: the matrix splits here
          e[high] = 0;
          break;
        }
        sine = f / r;
        cosine = g / r;
        g = d[i + 1]! - shift;
        r = (d[i]! - g) * sine + 2 * cosine * b;
        shift = sine * r;
        d[i + 1] = g + shift;
        g = cosine * r - b;
      }
      if (r === 0 && i >= low) continue;
      d[low]! -= shift;
      e[low] = g;
      e[high] = 0;
    }
  }
}

/** Small beside its neighbours, or beside the matrix, whose largest element is about 1. */
function isNegligible(e: number, d0: number, d1: number): boolean {
  return Math.abs(e) <= Number.EPSILON * (Math.abs(d0) + Math.abs(d1) + Number.EPSILON);
}
