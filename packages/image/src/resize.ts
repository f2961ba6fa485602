/**
 * Pillow's `Image.resize`, bit for bit, for 8-bit pixels (modes `L`, `LA`, `RGB`, `RGBA`), `I;16`, `I` and `F`.
 *
 * Two passes, across then down, row by row: only the rows that the second pass needs next are kept. A model that was
 * trained on Pillow's pixels sees the very same ones here; sharp and canvas resizers differ by up to 13 levels.
 *
 * Reference: Pillow 12.3, `src/libImaging/Resample.c`, `_resize` in `src/_imaging.c` and `resize` in `PIL/Image.py`.
 */

import { check, type NdArray, zeros } from "@aligntok/core";
import { premultiply, unpremultiply } from "./colour.ts";
import {
  computeTaps,
  type Line,
  mostTaps,
  type ResizeFilter,
  resizeFilters,
  type Taps,
} from "./filters.ts";
import {
  checkCount,
  checkPixels,
  mostPixels,
  type PixelData,
  type PixelType,
  sizeOfPixels,
} from "./image.ts";
import { pickNearest } from "./nearest.ts";
import { openRowSums } from "./row-sums.ts";
import { slack } from "./vector-code.ts";
import { openVectorSums } from "./vector-sums.ts";

/** A rectangle of an image, in its pixels and fractions of them; `right` and `bottom` are outside. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface ResizeOptions {
  /** Pixels of the result. */
  readonly width: number;
  readonly height: number;
  /** Every filter but nearest antialiases when it shrinks. @default "bicubic" */
  readonly filter?: ResizeFilter;
  /** The part of the image that becomes the result, rounded to float32. @default all of it */
  readonly box?: Box;
  /** Larger results are refused before any memory is taken. @default 178956970, as for decoding */
  readonly maxPixels?: number;
}

/** A part of the result, in its pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * The image at another size, equal to Pillow's `image.resize((width, height), filter, box)` in every bit.
 * An image that has the size already is copied.
 *
 * @param image `(H, W, C)`. Each channel is resized alone, except where 8-bit pixels have 2 or 4 channels: the last
 * one is alpha, which weighs the others.
 * @throws AlignTokError `bad-input` for sizes that are not whole and positive or more than `maxPixels`, boxes that
 * are empty or not within the image, and unknown filters.
 */
export function resize<D extends PixelType>(image: NdArray<D>, options: ResizeOptions): NdArray<D> {
  const { width, height } = options;
  return resizeWindow(image, options, { left: 0, top: 0, width, height });
}

/** `resize`, of which only a window is computed. */
export function resizeWindow<D extends PixelType>(
  image: NdArray<D>,
  options: ResizeOptions,
  window: Window,
): NdArray<D> {
  const { width, height, filter = "bicubic", maxPixels = mostPixels } = options;
  const input = sizeOfPixels(image, "resize");
  const { channels } = input;
  checkCount(width, "resize width");
  checkCount(height, "resize height");
  checkPixels(window, { name: "resize", maxPixels });
  check(
    resizeFilters.includes(filter),
    () => `resize filter: expected ${resizeFilters.join(", ")}, got ${filter}`,
  );
  const box = checkedBox(options.box, input);
  const across: Line = {
    ...{ inputSize: input.width, outputSize: width, start: box.left, end: box.right },
    ...{ from: window.left, to: window.left + window.width },
  };
  const down: Line = {
    ...{ inputSize: input.height, outputSize: height, start: box.top, end: box.bottom },
    ...{ from: window.top, to: window.top + window.height },
  };
  const result = zeros([window.height, window.width, channels], image.dtype);
  if (filter === "nearest") {
    pickNearest(image.data, result.data, { channels, across, down });
    return result;
  }

  const unchanged = isWhole(across) && isWhole(down);
  const cut = isCut(across) && isCut(down);
  const downFirst = input.height > 100 * input.width && height < input.height;
  const isNeeded = (line: Line) => !(downFirst ? isCut(line) : cut || isWhole(line));
  resizeRows(image.data, result.data, {
    dtype: image.dtype,
    channels,
    hasAlpha: image.dtype === "uint8" && channels % 2 === 0 && channels <= 4 && !unchanged,
    downFirst,
    columns: { line: across, taps: isNeeded(across) ? computeTaps(filter, across) : undefined },
    rows: { line: down, taps: isNeeded(down) ? computeTaps(filter, down) : undefined },
  });
  return result;
}

function checkedBox(
  box: Box | undefined,
  { width, height }: { readonly width: number; readonly height: number },
): Box {
  if (!box) return { left: 0, top: 0, right: width, bottom: height };
  const [left, top] = [Math.fround(box.left), Math.fround(box.top)];
  const [right, bottom] = [Math.fround(box.right), Math.fround(box.bottom)];
  check(
    left >= 0 && top >= 0 && left < right && top < bottom && right <= width && bottom <= height,
    () =>
      `resize box: expected 0 <= left < right <= ${width} and 0 <= top < bottom <= ${height}, got left ${left}, right ${right}, top ${top}, bottom ${bottom}`,
  );
  return { left, top, right, bottom };
}

/** Whether a line stays as it is. */
function isWhole({ inputSize, outputSize, start, end }: Line): boolean {
  return start === 0 && end === inputSize && outputSize === inputSize;
}

/** Whether a line is a piece of the input, pixel by pixel. */
function isCut({ start, end, outputSize }: Line): boolean {
  return Number.isInteger(start) && Math.fround(end - start) === outputSize;
}

interface Pass {
  readonly line: Line;
  /** None where the pixels stay as they are. */
  readonly taps: Taps | undefined;
}

interface Plan {
  readonly dtype: PixelType;
  readonly channels: number;
  readonly hasAlpha: boolean;
  /** The order for images more than a hundred times as high as wide. */
  readonly downFirst: boolean;
  readonly columns: Pass;
  readonly rows: Pass;
}

/** Both passes, row by row. */
function resizeRows(input: PixelData, output: PixelData, plan: Plan): void {
  const { dtype, channels, hasAlpha, downFirst, columns, rows } = plan;
  const read = extentOf(columns);
  const inputLength = columns.line.inputSize * channels;
  const readLength = (read.end - read.first) * channels;
  const outputLength = (columns.line.to - columns.line.from) * channels;
  const across = columns.taps && {
    ...columns.taps,
    firsts: columns.taps.firsts.map((first) => first - read.first),
  };
  const down = rows.taps;

  // places of rows: one read, those that wait for the pass down, one that was summed, one to be written
  const heldLength = across && !downFirst ? outputLength : readLength;
  const most = down ? mostTaps(down) : 1;
  const all = extentOf(rows);
  // with room for twice as many, a row is moved once at most
  const capacity = Math.min(2 * most, all.end - all.first);
  const heldAt = readLength + slack;
  // an odd number of rows is read with one more
  const summedAt = heldAt + heldLength * (capacity + 1) + slack;
  const writtenAt = summedAt + heldLength + slack;
  const size = writtenAt + outputLength + slack;
  const options = { channels, size, across, down };
  const sums =
    (dtype === "uint8" && channels <= 4 && openVectorSums(options)) ||
    openRowSums({ dtype, ...options });
  const places = sums.rows;

  function readRow(y: number, to: number): void {
    const start = y * inputLength + read.first * channels;
    places.set(input.subarray(start, start + readLength), to);
    if (hasAlpha) premultiply(places, { from: to, length: readLength, channels });
  }

  /** Row `y` of the input as far as it comes before the pass down. */
  function holdRow(y: number, to: number): void {
    const summed = across && !downFirst;
    readRow(y, summed ? 0 : to);
    if (summed) sums.across(0, to);
  }

  // the rows held are [held, next)
  let held = 0;
  let next = 0;
  /** Where row `first` is, which `count` - 1 others follow. */
  function hold(first: number, count: number): number {
    if (next <= first) held = next = first;
    if (first + count - held > capacity) {
      const start = heldAt + (first - held) * heldLength;
      places.copyWithin(heldAt, start, heldAt + (next - held) * heldLength);
      held = first;
    }
    for (; next < first + count; next++) holdRow(next, heldAt + (next - held) * heldLength);
    return heldAt + (first - held) * heldLength;
  }

  for (let y = 0; y < rows.line.to - rows.line.from; y++) {
    let at = heldAt;
    if (down) {
      at = summedAt;
      sums.down(y, hold(down.firsts[y]!, down.counts[y]!), at, heldLength);
    } else holdRow(rows.line.start + rows.line.from + y, at);
    if (across && downFirst) {
      sums.across(at, writtenAt);
      at = writtenAt;
    }
    if (hasAlpha) unpremultiply(places, { from: at, length: outputLength, channels });
    output.set(places.subarray(at, at + outputLength), y * outputLength);
  }
}

/** The pixels of a line that are read: `first` (inclusive) to `end` (exclusive). */
function extentOf({ line, taps }: Pass): { readonly first: number; readonly end: number } {
  if (!taps) return { first: line.start + line.from, end: line.start + line.to };
  const { firsts, counts } = taps;
  return { first: firsts[0]!, end: firsts.at(-1)! + counts.at(-1)! };
}
