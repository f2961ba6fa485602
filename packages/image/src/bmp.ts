/**
 * BMP files, which libvips as shipped with sharp does not read: uncompressed, of 1, 4, 8, 16, 24 or 32 bits.
 *
 * Reference: Microsoft, BITMAPINFOHEADER and BITMAPV5HEADER; values as Pillow's `BmpImagePlugin` gives them.
 */

import { AlignTokError } from "@aligntok/core";
import { overWhite } from "./colour.ts";
import { checkPixels, type Image, imageOf } from "./image.ts";

interface Limits {
  readonly name: string;
  readonly maxPixels: number;
}

export function isBmp(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x4d;
}

/** @throws AlignTokError as `decodeImage` */
export function decodeBmp(bytes: Uint8Array, { name, maxPixels }: Limits): Image {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const damaged = (reason: string) =>
    new AlignTokError(
      "bad-format",
      `${name}: expected a complete bmp file, got a truncated or damaged one (${reason}). fetch it again or leave it out`,
    );
  if (bytes.length < 26) throw damaged(`${bytes.length} bytes`);
  const pixelsAt = view.getUint32(10, true);
  const headerSize = view.getUint32(14, true);
  const old = headerSize === 12;
  if (!old && (headerSize < 40 || headerSize > 256 || 14 + headerSize > bytes.length)) {
    throw damaged(`a header of ${headerSize} bytes`);
  }
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const height = Math.abs(signedHeight);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  if (width <= 0 || height === 0) throw damaged(`a size of ${width} x ${signedHeight}`);
  checkPixels({ width, height }, { name, maxPixels });
  const masked = compression === 3 && (bits === 16 || bits === 32);
  if (![1, 4, 8, 16, 24, 32].includes(bits) || (compression !== 0 && !masked)) {
    throw new AlignTokError(
      "unsupported",
      `${name}: expected an uncompressed BMP of 1, 4, 8, 16, 24 or 32 bits, got ${bits} bits with compression ${compression}. convert it to PNG first`,
    );
  }
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (pixelsAt + stride * height > bytes.length) {
    throw damaged(`${bytes.length} bytes for ${width} x ${height} of ${bits} bits`);
  }
  const rowAt = (y: number) => pixelsAt + (signedHeight < 0 ? y : height - 1 - y) * stride;

  if (bits <= 8) {
    const entry = old ? 3 : 4;
    const used = old ? 0 : view.getUint32(46, true);
    const colours = used === 0 ? 1 << bits : used;
    const palette = bytes.subarray(14 + headerSize, 14 + headerSize + colours * entry);
    if (colours > 1 << bits || palette.length < colours * entry) {
      throw damaged(`a palette of ${colours} colours`);
    }
    const rgb = new Uint8Array(width * height * 3);
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const bit = x * bits;
        const packed = bytes[rowAt(y) + (bit >> 3)]!;
        const index = (packed >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
        if (index >= colours) throw damaged(`colour ${index} of ${colours}`);
        for (let c = 2; c >= 0; c--) rgb[to++] = palette[index * entry + c]!;
      }
    }
    return imageOf(rgb, { width, height });
  }

  if (masked && 14 + 52 > Math.min(bytes.length, pixelsAt)) throw damaged("no masks of colours");
  const standard = bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0];
  // masks stand at the same place, in a longer header or after a short one, which has none for alpha
  const masks = masked
    ? [54, 58, 62, 66].map((at, i) => (i === 3 && headerSize < 56 ? 0 : view.getUint32(at, true)))
    : standard;
  const channels = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    return { mask, shift, most: mask >>> shift };
  });
  const hasAlpha = masks[3] !== 0;
  const step = hasAlpha ? 4 : 3;
  const pixels = new Uint8Array(width * height * step);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = rowAt(y); x < width; x++, at += bits >> 3) {
      const value =
        bits === 16
          ? view.getUint16(at, true)
          : bytes[at]! |
            (bytes[at + 1]! << 8) |
            (bytes[at + 2]! << 16) |
            (bits === 32 ? bytes[at + 3]! << 24 : 0);
      for (let c = 0; c < step; c++) {
        const { mask, shift, most } = channels[c]!;
        pixels[to++] = most === 0 ? 0 : Math.floor((((value & mask) >>> shift) * 255) / most);
      }
    }
  }
  return imageOf(hasAlpha ? overWhite(pixels) : pixels, { width, height });
}
