/**
 * Mean and covariance of a stream of feature vectors, in float64 and without keeping the features.
 *
 * Rows are gathered in blocks of a fixed size, so how the caller cuts the stream into chunks does not
 * change a bit of the result. Each block is centred on its own mean and joined to the running sums by the
 * pairwise update of Chan, Golub and LeVeque (1979), which keeps full precision for features whose mean is
 * large against their spread.
 */
import { check, type NdArray, ndarray } from "@aligntok/core";

/** What a Fréchet distance needs to know of a set of samples. */
export interface MomentValues {
  /** Number of samples, N. */
  readonly count: number;
  /** `(D)` float64. */
  readonly mean: NdArray<"float64">;
  /** `(D, D)` float64, symmetric, divided by N - 1 as `numpy.cov` does. */
  readonly covariance: NdArray<"float64">;
}

/** A streaming accumulator of mean and covariance. */
export interface Moments {
  /** Length of a feature vector, D. */
  readonly width: number;
  /** Samples added so far. */
  readonly count: number;
  /** Adds `(N, D)` features. @throws AlignTokError `bad-input` on another shape, NaN or infinity; nothing is added then. */
  add(features: NdArray<"float32">): void;
  /** Adds all samples of another accumulator, equal to adding them one by one up to rounding. */
  merge(other: Moments): void;
  /** `(D)` float64. @throws AlignTokError `bad-input` before the first sample. */
  mean(): NdArray<"float64">;
  /** `(D, D)` float64, divided by N - 1. @throws AlignTokError `bad-input` before the second sample. */
  covariance(): NdArray<"float64">;
}

const blockRows = 64;

/** Sums over the samples so far; `scatter` is the lower triangle of the sum of (x - mean)(x - mean)^T. */
interface Sums {
  count: number;
  mean: Float64Array;
  scatter: Float64Array;
}

/** An empty accumulator for features of length `width`. Memory: 8 * width^2 bytes. */
export function createMoments(width: number): Moments {
  check(
    Number.isInteger(width) && width > 0,
    () => `createMoments: expected a width of at least 1, got ${width}`,
  );
  const sums: Sums = {
    count: 0,
    mean: new Float64Array(width),
    scatter: new Float64Array(width * width),
  };
  const block = new Float64Array(blockRows * width); // rows that do not fill a block yet
  let pending = 0;

  /** The sums with the pending rows taken in, leaving the stream's own state as it is. */
  function total(): Sums {
    if (pending === 0) return sums;
    const copy = { count: sums.count, mean: sums.mean.slice(), scatter: sums.scatter.slice() };
    absorb(copy, block.slice(0, pending * width), pending);
    return copy;
  }

  return {
    width,
    get count() {
      return sums.count + pending;
    },
    add(features) {
      const { shape, data } = features;
      check(
        features.dtype === "float32" && shape.length === 2 && shape[1] === width,
        () => `features: expected float32 [N,${width}], got ${features.dtype} [${shape}]`,
      );
      const bad = data.findIndex((x) => !Number.isFinite(x));
      check(
        bad < 0,
        () =>
          `features: expected finite numbers, got ${data[bad]} in row ${Math.floor(bad / width)}, column ${bad % width}. check the extractor's weights and input`,
      );
      for (let start = 0; start < data.length; ) {
        const taken = Math.min(data.length - start, block.length - pending * width);
        block.set(data.subarray(start, start + taken), pending * width);
        start += taken;
        pending += taken / width;
        if (pending === blockRows) {
          absorb(sums, block, blockRows);
          pending = 0;
        }
      }
    },
    merge(other) {
      check(
        other.width === width,
        () => `merge: expected moments of width ${width}, got ${other.width}`,
      );
      if (other.count === 0) return;
      const scatter = new Float64Array(width * width);
      if (other.count > 1) {
        const { data } = other.covariance();
        for (let i = 0; i < data.length; i++) scatter[i] = data[i]! * (other.count - 1);
      }
      const theirs = { count: other.count, mean: other.mean().data, scatter };
      if (pending > 0) absorb(sums, block, pending);
      pending = 0;
      join(sums, theirs);
    },
    mean() {
      check(
        sums.count + pending > 0,
        "mean: expected at least 1 sample, got 0. add features first",
      );
      return ndarray(total().mean.slice(), [width], "float64");
    },
    covariance() {
      const count = sums.count + pending;
      check(
        count > 1,
        () => `covariance: expected at least 2 samples, got ${count}. add more features`,
      );
      const { scatter } = total();
      const out = new Float64Array(width * width);
      for (let i = 0; i < width; i++) {
        for (let j = 0; j <= i; j++) {
          out[i * width + j] = out[j * width + i] = scatter[i * width + j]! / (count - 1);
        }
      }
      return ndarray(out, [width, width], "float64");
    },
  };
}

/** Takes `count` rows into `sums`; `rows` is overwritten by the centred rows. */
function absorb(sums: Sums, rows: Float64Array, count: number): void {
  const width = sums.mean.length;
  const mean = new Float64Array(width);
  for (let r = 0; r < count; r++) {
    for (let i = 0; i < width; i++) mean[i]! += rows[r * width + i]!;
  }
  for (let i = 0; i < width; i++) mean[i]! /= count;
  for (let r = 0; r < count; r++) {
    for (let i = 0; i < width; i++) rows[r * width + i]! -= mean[i]!;
  }
  addOuterProducts(sums.scatter, rows, count, width);
  shiftMean(sums, mean, count);
}

/** Takes the sums of a second set into the first. */
function join(sums: Sums, other: Sums): void {
  for (let i = 0; i < sums.scatter.length; i++) sums.scatter[i]! += other.scatter[i]!;
  shiftMean(sums, other.mean, other.count);
}

/** The between-set part of the pairwise update: n m / (n + m) delta delta^T, and the joint mean. */
function shiftMean(sums: Sums, mean: Float64Array, count: number): void {
  const total = sums.count + count;
  const delta = mean.map((m, i) => m - sums.mean[i]!);
  const weight = Math.sqrt((sums.count / total) * count);
  if (weight > 0) {
    addOuterProducts(
      sums.scatter,
      delta.map((d) => d * weight),
      1,
      delta.length,
    );
  }
  for (let i = 0; i < delta.length; i++) sums.mean[i]! += delta[i]! * (count / total);
  sums.count = total;
}

/** Lower triangle of `scatter` += sum over rows of row row^T, four rows at a time to save memory traffic. */
function addOuterProducts(
  scatter: Float64Array,
  rows: Float64Array,
  count: number,
  width: number,
): void {
  let r = 0;
  for (; r + 4 <= count; r += 4) {
    const r0 = r * width;
    const r1 = r0 + width;
    const r2 = r1 + width;
    const r3 = r2 + width;
    for (let i = 0; i < width; i++) {
      const a0 = rows[r0 + i]!;
      const a1 = rows[r1 + i]!;
      const a2 = rows[r2 + i]!;
      const a3 = rows[r3 + i]!;
      const out = i * width;
      for (let j = 0; j <= i; j++) {
        scatter[out + j]! +=
          a0 * rows[r0 + j]! + a1 * rows[r1 + j]! + a2 * rows[r2 + j]! + a3 * rows[r3 + j]!;
      }
    }
  }
  for (; r < count; r++) {
    const row = r * width;
    for (let i = 0; i < width; i++) {
      const a = rows[row + i]!;
      for (let j = 0; j <= i; j++) scatter[i * width + j]! += a * rows[row + j]!;
    }
  }
}
