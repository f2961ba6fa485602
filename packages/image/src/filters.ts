/**
 * The resampling filters of Pillow and the fixed-point weights made of them.
 *
 * Reference: Pillow, `src/libImaging/Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`).
 */

import { check } from "@aligntok/core";

/** Pillow's `Image.Resampling`, in lower case. */
export type ResizeFilter = "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";

export const resizeFilters: readonly ResizeFilter[] = [
  "nearest",
  "box",
  "bilinear",
  "hamming",
  "bicubic",
  "lanczos",
];

interface Filter {
  /** The filter is zero farther than this from its centre, in pixels of the coarser image. */
  readonly support: number;
  readonly at: (x: number) => number;
}

/** Float32 literals in Pillow. */
const hammingBase = Math.fround(0.54);
const hammingSwing = Math.fround(0.46);

const filters: Readonly<Record<Exclude<ResizeFilter, "nearest">, Filter>> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    at(x) {
      if (x === 0) return 1;
      if (Math.abs(x) >= 1) return 0;
      const angle = Math.abs(x) * Math.PI;
      return (Math.sin(angle) / angle) * (hammingBase + hammingSwing * Math.cos(angle));
    },
  },
  bicubic: {
    support: 2,
    // Keys' kernel with a = -0.5, evaluated in Pillow's order so that every double is the same
    at(x) {
      const d = Math.abs(x);
      const a = -0.5;
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
      return 0;
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x: number): number {
  if (x === 0) return 1;
  const angle = x * Math.PI;
  return Math.sin(angle) / angle;
}

/** Weights for 8-bit pixels are whole multiples of 2^-22: 8 bits of pixel and 2 of overshoot fill the rest of an int32. */
export const weightBits = 22;

/** A weight in multiples of 2^-22, as Pillow rounds it. */
export function fixedWeight(weight: number): number {
  return Math.trunc(weight * 2 ** weightBits + (weight < 0 ? -0.5 : 0.5));
}

/** A row or a column of an image, of which a part is resized. */
export interface Line {
  readonly inputSize: number;
  readonly outputSize: number;
  /** The part of the input that becomes the output, in its pixels and fractions of them; float32 as in Pillow. */
  readonly start: number;
  readonly end: number;
  /** The output pixels that are wanted: `from` (inclusive) to `to` (exclusive). */
  readonly from: number;
  readonly to: number;
}

/** Input pixels to an output pixel. */
export function scaleOf({ start, end, outputSize }: Line): number {
  return Math.fround(end - start) / outputSize;
}

/** Output pixel `i` is the sum over k < `counts[i]` of `weights[i * stride + k]` times input pixel `firsts[i] + k`. */
export interface Taps {
  readonly firsts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float64Array;
  readonly stride: number;
}

/** Taps of the output pixel that has most. */
export function mostTaps({ counts }: Taps): number {
  return counts.reduce((most, count) => Math.max(most, count));
}

/** 512 MB of weights, enough for lines of ten million pixels. */
const mostWeights = 2 ** 26;

/**
 * Taps of the wanted pixels of a line, which sum to 1.
 *
 * @throws AlignTokError `bad-input` for lines of more than ten million pixels, whose weights would fill the memory.
 */
export function computeTaps(filter: Exclude<ResizeFilter, "nearest">, line: Line): Taps {
  const { inputSize, outputSize, start, from, to } = line;
  const { support: unitSupport, at } = filters[filter];
  const scale = scaleOf(line);
  // shrinking widens the filter, so that every input pixel counts: antialiasing
  const filterScale = Math.max(scale, 1);
  const support = unitSupport * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  check(
    stride * (to - from) <= mostWeights,
    () =>
      `resize: expected at most ${mostWeights} weights, got ${to - from} times ${stride} to resize ${inputSize} pixels to ${outputSize}. crop the image first`,
  );
  const firsts = new Int32Array(to - from);
  const counts = new Int32Array(to - from);
  const weights = new Float64Array((to - from) * stride);
  const inverse = 1 / filterScale;
  for (let i = 0; i < to - from; i++) {
    const center = start + (from + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(inputSize, Math.trunc(center + support + 0.5)) - first;
    const own = weights.subarray(i * stride, i * stride + count);
    let sum = 0;
    for (let k = 0; k < count; k++) {
      own[k] = at((k + first - center + 0.5) * inverse);
      sum += own[k]!;
    }
    if (sum !== 0) for (let k = 0; k < count; k++) own[k]! /= sum;
    firsts[i] = first;
    counts[i] = count;
  }
  return { firsts, counts, weights, stride };
}
