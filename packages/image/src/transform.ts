/**
 * torchvision's `Resize` and `CenterCrop` as data: what a model's preprocessing says in its configuration.
 *
 * Reference: torchvision, `transforms/functional.py` (`_compute_resized_image_output_size`, `center_crop`);
 * transformers, `image_transforms.py` (`center_crop`), for `cropRounding: "floor"`.
 */

import { check, ndarray } from "@aligntok/core";
import type { ResizeFilter } from "./filters.ts";
import {
  checkCount,
  checkPixels,
  type Image,
  mostPixels,
  roundHalfEven,
  sizeOfImage,
} from "./image.ts";
import { resizeWindow, type Window } from "./resize.ts";

/** Height and width in pixels. */
export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

/** torchvision's Resize, then CenterCrop. */
export interface ImageTransform {
  /**
   * A number: the pixels of the shorter side, the other has `floor(size * long / short)`. Both sides: exactly
   * that, whatever the aspect. @default the image's own size
   */
  readonly resize?: number | ImageSize;
  /** @default "bicubic" */
  readonly filter?: ResizeFilter;
  /** The middle of it, a square or both sides. What is larger than the image gets black edges. @default all of it */
  readonly crop?: number | ImageSize;
  /**
   * How half a pixel is rounded where an odd number of them has to go: to the even place as torchvision does, or down
   * as transformers does. @default "half-even"
   */
  readonly cropRounding?: "half-even" | "floor";
}

export interface TransformOptions {
  /**
   * Larger results are refused before any memory is taken: the long side of a thin image may become any length.
   * @default 178956970, as for decoding
   */
  readonly maxPixels?: number;
}

/**
 * Resizes, then takes the middle: equal in every bit to torchvision's transforms on Pillow images. Only the pixels
 * that the crop keeps are computed.
 *
 * @throws AlignTokError `bad-input` for sizes that are not whole and positive or more than `maxPixels`, and for
 * unknown filters
 */
export function transformImage(
  image: Image,
  transform: ImageTransform,
  { maxPixels = mostPixels }: TransformOptions = {},
): Image {
  const { filter = "bicubic", cropRounding = "half-even" } = transform;
  const own = sizeOfImage(image, "transformImage");
  const resized = resizedSize(own, transform.resize);
  const crop = transform.crop === undefined ? resized : bothSides(transform.crop, "crop");
  checkPixels(crop, { name: "transformImage", maxPixels });
  check(
    cropRounding === "half-even" || cropRounding === "floor",
    () => `transformImage cropRounding: expected half-even or floor, got ${String(cropRounding)}`,
  );
  const round = cropRounding === "floor" ? Math.floor : roundHalfEven;
  const rows = middle(resized.height, crop.height, round);
  const columns = middle(resized.width, crop.width, round);
  const window: Window = {
    top: rows.from,
    left: columns.from,
    height: rows.count,
    width: columns.count,
  };
  const result = resizeWindow(image, { ...resized, filter, maxPixels }, window);
  if (rows.count === crop.height && columns.count === crop.width) return result;
  return onBlack(result, crop, rows.before, columns.before);
}

function resizedSize(own: ImageSize, wanted: ImageTransform["resize"]): ImageSize {
  if (wanted === undefined) return own;
  if (typeof wanted !== "number") return bothSides(wanted, "resize");
  checkCount(wanted, "transformImage resize");
  const { height, width } = own;
  const long = Math.floor((wanted * Math.max(height, width)) / Math.min(height, width));
  return height < width ? { height: wanted, width: long } : { height: long, width: wanted };
}

function bothSides(size: number | ImageSize, what: string): ImageSize {
  const { height, width } = typeof size === "number" ? { height: size, width: size } : size;
  checkCount(height, `transformImage ${what} height`);
  checkCount(width, `transformImage ${what} width`);
  return { height, width };
}

/** Which pixels of a line of `size` a crop of `wanted` takes, and how many black ones come before them. */
function middle(
  size: number,
  wanted: number,
  round: (x: number) => number,
): { from: number; count: number; before: number } {
  if (wanted > size) return { from: 0, count: size, before: Math.floor((wanted - size) / 2) };
  return { from: round((size - wanted) / 2), count: wanted, before: 0 };
}

function onBlack(image: Image, { height, width }: ImageSize, top: number, left: number): Image {
  const data = new Uint8Array(height * width * 3);
  const [rows = 0, columns = 0] = image.shape;
  for (let y = 0; y < rows; y++) {
    const row = image.data.subarray(y * columns * 3, (y + 1) * columns * 3);
    data.set(row, ((top + y) * width + left) * 3);
  }
  return ndarray(data, [height, width, 3], "uint8");
}
