/**
 * Pillow's `Image.resize` on 8-bit RGB, bit for bit.
 *
 * Two passes, across then down, each a sum of int32 products rounded and clipped to 8 bits. A model that was
 * trained on Pillow's pixels sees the very same ones here; sharp and canvas resizers differ by up to 13 levels.
 *
 * Reference: Pillow, `src/libImaging/Resample.c` and, for nearest, `ImagingScaleAffine` in `Geometry.c`.
 */

import { check, ndarray } from "@aligntok/core";
import { computeTaps, type ResizeFilter, resizeFilters, type Taps, weightBits } from "./filters.ts";
import { checkCount, type Image, sizeOfImage } from "./image.ts";

export interface ResizeOptions {
  /** Pixels of the result. */
  readonly width: number;
  readonly height: number;
  /** Every filter but nearest antialiases when it shrinks. @default "bicubic" */
  readonly filter?: ResizeFilter;
}

/** A part of the result, in its pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * The image at another size, equal to Pillow's `image.resize((width, height), filter)` in every bit.
 * An image that has the size already is copied.
 *
 * @throws AlignTokError `bad-input` for sizes that are not whole and positive, and for unknown filters.
 */
export function resize(image: Image, options: ResizeOptions): Image {
  const { width, height } = options;
  return resizeWindow(image, options, { left: 0, top: 0, width, height });
}

/** `resize`, of which only a window is computed. */
export function resizeWindow(
  image: Image,
  { width, height, filter = "bicubic" }: ResizeOptions,
  window: Window,
): Image {
  const input = sizeOfImage(image, "resize");
  checkCount(width, "resize width");
  checkCount(height, "resize height");
  check(
    resizeFilters.includes(filter),
    () => `resize filter: expected ${resizeFilters.join(", ")}, got ${filter}`,
  );
  const columns = { inputSize: input.width, outputSize: width, from: window.left };
  const rows = { inputSize: input.height, outputSize: height, from: window.top };
  const across = { ...columns, to: window.left + window.width };
  const down = { ...rows, to: window.top + window.height };
  const shape = [window.height, window.width, 3];
  if (filter === "nearest") return ndarray(pickNearest(image.data, across, down), shape, "uint8");

  // the first pass makes the rows that the second one reads, and no others; without a second pass, the window's
  const vertical = input.height === height ? undefined : computeTaps(filter, down);
  const firstRow = vertical?.firsts[0] ?? window.top;
  const lastRow = vertical ? endOf(vertical) : window.top + window.height;
  const middle =
    input.width === width
      ? copyColumns(image.data, input.width, window, firstRow, lastRow)
      : sumAcross(image.data, input.width, computeTaps(filter, across), firstRow, lastRow);
  const data = vertical ? sumDown(middle, window.width * 3, vertical, firstRow) : middle;
  return ndarray(data, shape, "uint8");
}

/** The input pixel after the last one that any tap reads. */
function endOf({ firsts, counts }: Taps): number {
  return firsts.at(-1)! + counts.at(-1)!;
}

/** The horizontal pass over rows `firstRow` to `lastRow` (exclusive) of `(H, inputWidth, 3)`. */
function sumAcross(
  input: Uint8Array,
  inputWidth: number,
  { firsts, counts, weights, stride }: Taps,
  firstRow: number,
  lastRow: number,
): Uint8Array {
  const width = firsts.length;
  const output = new Uint8ClampedArray((lastRow - firstRow) * width * 3);
  const half = 1 << (weightBits - 1);
  let out = 0;
  for (let y = firstRow; y < lastRow; y++) {
    const row = y * inputWidth * 3;
    for (let x = 0; x < width; x++) {
      let red = half;
      let green = half;
      let blue = half;
      let pixel = row + firsts[x]! * 3;
      const end = x * stride + counts[x]!;
      for (let w = x * stride; w < end; w++, pixel += 3) {
        const weight = weights[w]!;
        red = (red + Math.imul(weight, input[pixel]!)) | 0;
        green = (green + Math.imul(weight, input[pixel + 1]!)) | 0;
        blue = (blue + Math.imul(weight, input[pixel + 2]!)) | 0;
      }
      output[out++] = red >> weightBits;
      output[out++] = green >> weightBits;
      output[out++] = blue >> weightBits;
    }
  }
  return new Uint8Array(output.buffer);
}

/** The vertical pass; `input` starts with row `firstRow` of the image. */
function sumDown(
  input: Uint8Array,
  rowBytes: number,
  { firsts, counts, weights, stride }: Taps,
  firstRow: number,
): Uint8Array {
  const height = firsts.length;
  const output = new Uint8ClampedArray(height * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (weightBits - 1));
    for (let k = 0; k < counts[y]!; k++) {
      const weight = weights[y * stride + k]!;
      const row = (firsts[y]! + k - firstRow) * rowBytes;
      for (let i = 0; i < rowBytes; i++) {
        sums[i] = (sums[i]! + Math.imul(weight, input[row + i]!)) | 0;
      }
    }
    for (let i = 0; i < rowBytes; i++) output[y * rowBytes + i] = sums[i]! >> weightBits;
  }
  return new Uint8Array(output.buffer);
}

function copyColumns(
  input: Uint8Array,
  inputWidth: number,
  { left, width }: Window,
  firstRow: number,
  lastRow: number,
): Uint8Array {
  const output = new Uint8Array((lastRow - firstRow) * width * 3);
  for (let y = firstRow; y < lastRow; y++) {
    const start = (y * inputWidth + left) * 3;
    output.set(input.subarray(start, start + width * 3), (y - firstRow) * width * 3);
  }
  return output;
}

interface Line {
  readonly inputSize: number;
  readonly outputSize: number;
  readonly from: number;
  readonly to: number;
}

function pickNearest(input: Uint8Array, across: Line, down: Line): Uint8Array {
  const columns = nearestIndices(across);
  const rows = nearestIndices(down);
  const output = new Uint8Array(rows.length * columns.length * 3);
  let out = 0;
  for (const row of rows) {
    for (const column of columns) {
      const pixel = (row * across.inputSize + column) * 3;
      output[out++] = input[pixel]!;
      output[out++] = input[pixel + 1]!;
      output[out++] = input[pixel + 2]!;
    }
  }
  return output;
}

/** Pillow steps by repeated addition, whose rounding decides ties; a product would differ. */
function nearestIndices({ inputSize, outputSize, from, to }: Line): Int32Array {
  const indices = new Int32Array(to - from);
  const step = inputSize / outputSize;
  let position = step * 0.5;
  for (let i = 0; i < to; i++, position += step) {
    if (i >= from) indices[i - from] = Math.min(Math.trunc(position), inputSize - 1);
  }
  return indices;
}
