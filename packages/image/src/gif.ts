/**
 * What surrounds the first frame of a GIF file that is smaller than its picture: libvips leaves it clear or black,
 * Pillow and we give it the first colour of the palette. Frames with a transparent colour are surrounded by that.
 *
 * Reference: the GIF89a specification; Pillow, `GifImagePlugin.load_prepare`.
 */

import type { Image } from "./image.ts";

/** Colours what the first frame leaves free, in place. */
export function fillAroundFrame(image: Image, bytes: Uint8Array): void {
  const frame = findFirstFrame(bytes);
  if (!frame || frame.isTransparent) return;
  const { left, top, right, bottom, colour } = frame;
  const [height = 0, width = 0] = image.shape;
  if (left <= 0 && top <= 0 && right >= width && bottom >= height) return;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      if (y < top || y >= bottom || x < left || x >= right) image.data.set(colour, at);
    }
  }
}

interface Frame {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly isTransparent: boolean;
  /** Red, green and blue of the palette's first colour; black without a palette. */
  readonly colour: Uint8Array;
}

function findFirstFrame(bytes: Uint8Array): Frame | undefined {
  const word = (at: number) => bytes[at]! | (bytes[at + 1]! << 8);
  /** Bytes of a table of colours, by the flags before it. */
  const tableSize = (flags: number) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  const shared = tableSize(bytes[10]!);
  let at = 13 + shared;
  let isTransparent = false;
  while (at + 10 <= bytes.length) {
    if (bytes[at] === 0x2c) {
      const [left, top] = [word(at + 1), word(at + 3)];
      const table = tableSize(bytes[at + 9]!) > 0 ? at + 10 : shared > 0 ? 13 : bytes.length;
      const colour = new Uint8Array(3);
      colour.set(bytes.subarray(table, table + 3));
      return {
        ...{ left, top, right: left + word(at + 5), bottom: top + word(at + 7) },
        ...{ isTransparent, colour },
      };
    }
    if (bytes[at] !== 0x21) return undefined;
    if (bytes[at + 1] === 0xf9) isTransparent = (bytes[at + 3]! & 1) === 1;
    for (at += 2; bytes[at]! > 0; ) at += bytes[at]! + 1; // blocks of an extension
    at++;
  }
  return undefined;
}
