/**
 * Centred kernel nearest-neighbour alignment: whether two representations of the same samples agree on which
 * samples are alike (Huh et al., 2024, "The Platonic Representation Hypothesis"; minyoungg/platonic-rep @ 07ef02a,
 * metrics.py; tianciB/VFM-VAE @ 3563fbd computes it for latents).
 *
 * Kernels are the cosines of the feature vectors. Each row keeps its k largest entries off the diagonal, the two masks are
 * intersected, and the unbiased HSIC (Song et al., 2012, equation 5) of the masked kernels is divided by those of each
 * kernel with itself. A masked kernel has N k entries, so neither kernel is ever held as a whole.
 */
import { check, type NdArray } from "@aligntok/core";

export interface CknnaOptions {
  /** Neighbours of each sample, from 2 to N - 1; the value rises with it. @default 10 */
  readonly k?: number;
  /**
   * Clamps features to this quantile of their magnitudes before they are compared; both upstreams use 0.95, which
   * keeps a few large channels from deciding all cosines. @default 1, features as they are
   */
  readonly quantile?: number;
}

/**
 * Alignment of two representations of the same N samples: about 0 for unrelated ones, 1 for equal ones (less by at
 * most 1e-6 / HSIC, the term that both upstreams add to the divisor). Masked kernels are not symmetric, so the order of the
 * two changes the value a little (1e-4 for 60 samples).
 *
 * Time grows with N^2 (D1 + D2), memory with N (k + D1 + D2). Compare only values of equal N and k.
 *
 * @param a `(N, D1)` float32, such as mean-pooled latents (see `meanPool`)
 * @param b `(N, D2)` float32, of the same samples in the same order
 * @throws AlignTokError `bad-input` for other shapes, NaN, infinity, a row of zeros, fewer than 4 samples, or so few for
 *   this k that a kernel's own HSIC is not positive.
 */
export function computeCknna(
  a: NdArray<"float32">,
  b: NdArray<"float32">,
  options: CknnaOptions = {},
): number {
  const { k = 10, quantile = 1 } = options;
  const count = a.shape[0] ?? 0;
  check(
    a.shape.length === 2 && b.shape.length === 2 && b.shape[0] === count,
    () =>
      `cknna: expected two [N,D] of the same samples, got [${a.shape}] and [${b.shape}]. pool tokens and latents first`,
  );
  check(count >= 4, () => `cknna: expected at least 4 samples, got ${count}. give more images`);
  check(
    Number.isInteger(k) && k >= 2 && k < count,
    () =>
      `cknna: expected k from 2 to ${count - 1}, one less than the samples, got ${k}. change k or add samples`,
  );
  check(
    quantile > 0 && quantile <= 1,
    () => `cknna: expected a quantile above 0 and at most 1, got ${quantile}. 1 clamps nothing`,
  );
  const first = nearestNeighbours(unitRows(a, quantile), count, k);
  const second = nearestNeighbours(unitRows(b, quantile), count, k);
  const [own, other] = [hsic(first, first, count), hsic(second, second, count)];
  check(
    own > 1e-12 && other > 1e-12, // 0 but for rounding where all samples are alike
    () =>
      `cknna: expected samples that differ, and enough of them for k = ${k}, got ${count} whose own HSIC is not positive. lower k or add samples`,
  );
  return hsic(first, second, count) / (Math.sqrt(own * other) + 1e-6);
}

/** For each row its k nearest others, `(N, k)`, and their cosines. */
interface Neighbours {
  readonly indices: Int32Array;
  readonly cosines: Float64Array;
}

/** Rows of unit length, in float64. */
function unitRows({ data, shape }: NdArray<"float32">, quantile: number): Float64Array {
  const width = shape[1]!;
  const limit = magnitudeAt(data, quantile);
  const bad = data.findIndex((x) => !Number.isFinite(x));
  check(
    bad < 0,
    () =>
      `cknna: expected finite features, got ${data[bad]} in row ${Math.floor(bad / width)}. compute that image's again`,
  );
  const rows = new Float64Array(data.length);
  for (let start = 0; start < data.length; start += width) {
    let squares = 0;
    for (let i = start; i < start + width; i++) {
      rows[i] = Math.max(-limit, Math.min(limit, data[i]!));
      squares += rows[i]! ** 2;
    }
    check(
      squares > 0,
      () =>
        `cknna: expected rows with a direction, got zeros in row ${start / width}. leave that image out`,
    );
    const scale = 1 / Math.sqrt(squares);
    for (let i = start; i < start + width; i++) rows[i]! *= scale;
  }
  return rows;
}

function magnitudeAt(data: Float32Array, quantile: number): number {
  if (quantile === 1) return Number.POSITIVE_INFINITY;
  return data.map(Math.abs).sort()[Math.floor(quantile * data.length)]!;
}

function nearestNeighbours(rows: Float64Array, count: number, k: number): Neighbours {
  const width = rows.length / count;
  const indices = new Int32Array(count * k); // of each row by cosine, descending
  const cosines = new Float64Array(count * k).fill(Number.NEGATIVE_INFINITY);

  /** Of equal cosines the row offered first stays. */
  function offer(row: number, other: number, cosine: number): void {
    let place = (row + 1) * k - 1;
    if (cosine <= cosines[place]!) return;
    for (; place > row * k && cosine > cosines[place - 1]!; place--) {
      cosines[place] = cosines[place - 1]!;
      indices[place] = indices[place - 1]!;
    }
    cosines[place] = cosine;
    indices[place] = other;
  }

  const at = (row: number) => Math.min(row, count - 1) * width;
  const group = 4; // rows at a time, so that each later row is read once for four
  for (let start = 0; start < count; start += group) {
    const [a0, a1, a2, a3] = [at(start), at(start + 1), at(start + 2), at(start + 3)];
    for (let j = start + 1; j < count; j++) {
      const b = j * width;
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      for (let i = 0; i < width; i++) {
        const x = rows[b + i]!;
        s0 += x * rows[a0 + i]!;
        s1 += x * rows[a1 + i]!;
        s2 += x * rows[a2 + i]!;
        s3 += x * rows[a3 + i]!;
      }
      for (const [g, cosine] of [s0, s1, s2, s3].entries()) {
        if (start + g >= j) break;
        offer(start + g, j, cosine);
        offer(j, start + g, cosine);
      }
    }
  }
  return sortRows({ indices, cosines }, k);
}

/** The entries of each row by index, ascending. */
function sortRows({ indices, cosines }: Neighbours, k: number): Neighbours {
  const order = Int32Array.from(indices, (_, place) => place);
  for (let start = 0; start < order.length; start += k) {
    order.subarray(start, start + k).sort((a, b) => indices[a]! - indices[b]!);
  }
  return {
    indices: order.map((place) => indices[place]!),
    cosines: Float64Array.from(order, (place) => cosines[place]!),
  };
}

/** Entries that both sets hold, by row * count + column: the cosine of each side. */
function intersect(
  first: Neighbours,
  second: Neighbours,
  count: number,
): Map<number, readonly [number, number]> {
  const k = first.indices.length / count;
  const shared = new Map<number, readonly [number, number]>();
  for (let row = 0; row < count; row++) {
    const end = (row + 1) * k;
    for (let i = row * k, j = row * k; i < end && j < end; ) {
      const difference = first.indices[i]! - second.indices[j]!;
      if (difference === 0) {
        const entry = [first.cosines[i]!, second.cosines[j]!] as const;
        shared.set(row * count + first.indices[i]!, entry);
      }
      if (difference <= 0) i++;
      if (difference >= 0) j++;
    }
  }
  return shared;
}

/** The unbiased HSIC of two kernels, each masked by both sets of neighbours. */
function hsic(first: Neighbours, second: Neighbours, count: number): number {
  const edges = intersect(first, second, count);
  let [sumFirst, sumSecond] = [0, 0];
  const columnsOfFirst = new Float64Array(count);
  const rowsOfSecond = new Float64Array(count);
  let trace = 0; // of K L: pairs that are neighbours of one another in both
  for (const [pair, [a, b]] of edges) {
    const [row, column] = [Math.floor(pair / count), pair % count];
    sumFirst += a;
    sumSecond += b;
    columnsOfFirst[column]! += a;
    rowsOfSecond[row]! += b;
    const back = edges.get(column * count + row);
    if (back) trace += a * back[1];
  }
  let product = 0; // 1' K L 1
  for (let i = 0; i < count; i++) product += columnsOfFirst[i]! * rowsOfSecond[i]!;
  const value =
    trace + (sumFirst * sumSecond) / ((count - 1) * (count - 2)) - (2 * product) / (count - 2);
  return value / (count * (count - 3));
}
