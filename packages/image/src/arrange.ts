/** Several images in one array: batches for models, sheets for people. */

import { check, type Images, reshape, rows, zeros } from "@aligntok/core";
import { checkCount, checkPixels, type Image, mostPixels, sizeOfImage } from "./image.ts";

/** Copies images of one size into a batch `(N, H, W, 3)`. */
export function stackImages(images: readonly Image[]): Images {
  const first = images[0];
  check(first, "stackImages: expected at least one image, got none");
  const { height, width } = sizeOfImage(first, "stackImages");
  const batch = zeros([images.length, height, width, 3], "uint8");
  for (const [i, image] of images.entries()) {
    const size = sizeOfImage(image, "stackImages");
    check(
      size.height === height && size.width === width,
      () =>
        `stackImages: expected image ${i} of ${height} x ${width} as the first, got ${size.height} x ${size.width}. resize or crop them first`,
    );
    batch.data.set(image.data, i * height * width * 3);
  }
  return batch;
}

export interface ContactSheetOptions {
  /** Images in a row. */
  readonly columns: number;
  /** Pixels between images and around them. @default 2 */
  readonly gap?: number;
  /** Red, green and blue of the gaps, 0 to 255. @default [255, 255, 255] */
  readonly background?: readonly [number, number, number];
  /** Larger sheets are refused before any memory is taken. @default 178956970, as for decoding */
  readonly maxPixels?: number;
}

/**
 * Images side by side on one picture, row by row, without text. Cells are as large as the largest image; a smaller
 * one stands in the middle of its cell.
 *
 * @param images A batch `(N, H, W, 3)`, or images of any sizes.
 * @throws AlignTokError `bad-input` without images, for columns or gaps that are not whole, and above `maxPixels`
 */
export function contactSheet(
  images: Images | readonly Image[],
  { columns, gap = 2, background = [255, 255, 255], maxPixels = mostPixels }: ContactSheetOptions,
): Image {
  const list = "shape" in images ? unstack(images) : images;
  check(list.length > 0, "contactSheet: expected at least one image, got none");
  checkCount(columns, "contactSheet columns");
  check(
    Number.isSafeInteger(gap) && gap >= 0,
    () => `contactSheet gap: expected a whole number of at least 0, got ${gap}`,
  );
  const sizes = list.map((image) => sizeOfImage(image, "contactSheet"));
  const cellHeight = sizes.reduce((most, { height }) => Math.max(most, height), 0);
  const cellWidth = sizes.reduce((most, { width }) => Math.max(most, width), 0);
  const shown = Math.min(columns, list.length);
  const height = Math.ceil(list.length / columns) * (cellHeight + gap) + gap;
  const width = shown * (cellWidth + gap) + gap;
  checkPixels({ height, width }, { name: "contactSheet", maxPixels });
  const sheet = zeros([height, width, 3], "uint8");
  for (let i = 0; i < sheet.data.length; i++) sheet.data[i] = background[i % 3]!;

  for (const [i, { data }] of list.entries()) {
    const size = sizes[i]!;
    const cellTop = Math.floor(i / columns) * (cellHeight + gap) + gap;
    const cellLeft = (i % columns) * (cellWidth + gap) + gap;
    const top = cellTop + Math.floor((cellHeight - size.height) / 2);
    const left = cellLeft + Math.floor((cellWidth - size.width) / 2);
    for (let y = 0; y < size.height; y++) {
      const row = data.subarray(y * size.width * 3, (y + 1) * size.width * 3);
      sheet.data.set(row, ((top + y) * width + left) * 3);
    }
  }
  return sheet;
}

function unstack(images: Images): Image[] {
  const [count = 0, ...size] = images.shape;
  return Array.from({ length: count }, (_, i) => reshape(rows(images, i, i + 1), size));
}
