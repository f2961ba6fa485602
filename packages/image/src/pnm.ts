/**
 * PBM, PGM and PPM files, plain and binary, which libvips as shipped with sharp does not read.
 *
 * Reference: the Netpbm manual; values as Pillow's `PpmImagePlugin` scales them.
 */

import { AlignTokError } from "@aligntok/core";
import { checkPixels, type Image, imageOf, roundHalfEven } from "./image.ts";

/** P1 to P6 and white space. */
export function isPnm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1]! >= 0x31 && bytes[1]! <= 0x36 && isSpace(bytes[2]);
}

/** @throws AlignTokError as `decodeImage` */
export function decodePnm(
  bytes: Uint8Array,
  { name, maxPixels }: { readonly name: string; readonly maxPixels: number },
): Image {
  const kind = bytes[1]! - 0x30;
  const plain = kind <= 3;
  const bitmap = kind === 1 || kind === 4;
  const channels = kind === 3 || kind === 6 ? 3 : 1;
  let at = 2;

  const damaged = (reason: string) =>
    new AlignTokError(
      "bad-format",
      `${name}: expected a complete pnm file, got a truncated or damaged one (${reason}). fetch it again or leave it out`,
    );

  function skipSpace(): void {
    while (at < bytes.length && (isSpace(bytes[at]) || bytes[at] === 0x23)) {
      if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 0x0a) at++;
      else at++;
    }
  }

  function number(mostDigits = 10): number {
    skipSpace();
    let value = 0;
    const start = at;
    while (at - start < mostDigits && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) {
      value = value * 10 + bytes[at++]! - 0x30;
    }
    if (at === start) throw damaged(`no number at byte ${at}`);
    return value;
  }

  const width = number();
  const height = number();
  const most = bitmap ? 1 : number();
  if (width === 0 || height === 0 || most === 0 || most > 65535) {
    throw damaged(`${width} x ${height} of at most ${most}`);
  }
  checkPixels({ width, height }, { name, maxPixels });
  if (!plain && !isSpace(bytes[at++])) throw damaged("a header that does not end");
  const sampleBytes = most > 255 ? 2 : 1;
  const stride = bitmap ? Math.ceil(width / 8) : width * channels * sampleBytes;
  const count = width * height * channels;
  // a plain sample takes a byte at least, and bits need no space between them
  const needed = plain ? count : stride * height;
  if (bytes.length - at < needed) {
    throw damaged(`${bytes.length} bytes for ${width} x ${height} of ${channels} channels`);
  }

  /** 8 bits of a sample: gray of 16 bits keeps the upper ones, as in other formats. */
  function scaled(value: number): number {
    if (value > most) throw damaged(`a sample of ${value}, above ${most}`);
    if (bitmap) return value === 1 ? 0 : 255;
    if (most > 255 && channels === 1) return roundHalfEven((value / most) * 65535) >> 8;
    return most === 255 ? value : roundHalfEven((value / most) * 255);
  }

  const sample = (i: number): number => {
    if (plain) return number(bitmap ? 1 : 10);
    if (bitmap) {
      const x = i % width;
      return (bytes[at + Math.floor(i / width) * stride + (x >> 3)]! >> (7 - (x & 7))) & 1;
    }
    if (sampleBytes === 1) return bytes[at + i]!;
    return (bytes[at + 2 * i]! << 8) | bytes[at + 2 * i + 1]!;
  };
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, to = 0; i < count; i++) {
    const value = scaled(sample(i));
    rgb[to++] = value;
    if (channels === 1) {
      rgb[to++] = value;
      rgb[to++] = value;
    }
  }
  return imageOf(rgb, { width, height });
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
