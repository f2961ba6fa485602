/** Weighted sums of pixels, along a row and down a column, in the arithmetic that Pillow has for each type. */

import { fixedWeight, type Taps, weightBits } from "./filters.ts";
import type { PixelType } from "./image.ts";

/** Rows of pixels and the two ways to sum over them. Places are indices into `rows`. */
export interface RowSums {
  readonly rows: Uint8Array | Float64Array;
  /** Resizes the row at `from`. A few elements past the new row at `to` may change. */
  across(from: number, to: number): void;
  /** Output row `y` of the rows at `from`, one after the other, of `length` elements each. */
  down(y: number, from: number, to: number, length: number): void;
}

export interface SumsOptions {
  readonly dtype: PixelType;
  readonly channels: number;
  /** Elements of `rows`. */
  readonly size: number;
  readonly across: Taps | undefined;
  readonly down: Taps | undefined;
}

interface Arithmetic {
  readonly weight: (exact: number) => number;
  /** What sums start from. */
  readonly bias: number;
  /** Sums to values of the type, from index `start` to `end`. */
  readonly finish: (sums: Float64Array, start: number, end: number) => void;
}

const asItIs = (exact: number) => exact;
/** Away from zero at halves: Pillow adds a half before the cast to int. */
const round = (sum: number) => Math.trunc(sum >= 0 ? sum + 0.5 : sum - 0.5);

const arithmetics: Readonly<Record<PixelType, Arithmetic>> = {
  uint8: {
    // whole numbers, exact in float64
    weight: fixedWeight,
    bias: 2 ** (weightBits - 1),
    finish(sums, start, end) {
      for (let i = start; i < end; i++) {
        sums[i] = Math.min(255, Math.max(0, sums[i]! >> weightBits));
      }
    },
  },
  uint16: {
    weight: asItIs,
    bias: 0,
    finish(sums, start, end) {
      for (let i = start; i < end; i++) sums[i] = Math.min(65535, Math.max(0, round(sums[i]!)));
    },
  },
  int32: {
    weight: asItIs,
    bias: 0,
    finish(sums, start, end) {
      for (let i = start; i < end; i++) sums[i] = round(sums[i]!);
    },
  },
  float32: {
    weight: asItIs,
    bias: 0,
    finish(sums, start, end) {
      for (let i = start; i < end; i++) sums[i] = Math.fround(sums[i]!);
    },
  },
};

/** The rows are float64, which holds the values of every type. */
export function openRowSums({ dtype, channels, size, across, down }: SumsOptions): RowSums {
  const rows = new Float64Array(size);
  const { weight, bias, finish } = arithmetics[dtype];
  const acrossTaps = across && { ...across, weights: across.weights.map(weight) };
  const downTaps = down && { ...down, weights: down.weights.map(weight) };
  return {
    rows,
    across(from, to) {
      rows.fill(bias, to, to + acrossTaps!.firsts.length * channels);
      sumAcross(rows, acrossTaps!, { from, to, channels });
      finish(rows, to, to + acrossTaps!.firsts.length * channels);
    },
    down(y, from, to, length) {
      rows.fill(bias, to, to + length);
      sumDown(rows, downTaps!, { y, from, to, length });
      finish(rows, to, to + length);
    },
  };
}

function sumAcross(
  rows: Float64Array,
  { firsts, counts, weights, stride }: Taps,
  { from, to, channels }: { readonly from: number; readonly to: number; readonly channels: number },
): void {
  for (let x = 0, out = to; x < firsts.length; x++) {
    const start = x * stride;
    const end = start + counts[x]!;
    for (let c = 0; c < channels; c++) {
      let sum = rows[out]!;
      let at = from + firsts[x]! * channels + c;
      for (let w = start; w < end; w++, at += channels) sum += weights[w]! * rows[at]!;
      rows[out++] = sum;
    }
  }
}

function sumDown(
  rows: Float64Array,
  { counts, weights, stride }: Taps,
  {
    y,
    from,
    to,
    length,
  }: { readonly y: number; readonly from: number; readonly to: number; readonly length: number },
): void {
  for (let k = 0; k < counts[y]!; k++) {
    const weight = weights[y * stride + k]!;
    const row = from + k * length;
    for (let i = 0; i < length; i++) rows[to + i]! += weight * rows[row + i]!;
  }
}
