/**
 * Image files to RGB pixels, with the values Pillow gives.
 *
 * sharp (libvips) decodes. What makes a difference to a model is fixed here: EXIF orientation is applied, colour
 * profiles are ignored as Pillow ignores them, transparency is laid over white, 16 bits keep their upper 8, and
 * CMYK becomes RGB by Pillow's formula in place of a colour profile.
 */

import { readFile } from "node:fs/promises";
import { AlignTokError } from "@aligntok/core";
import sharp, { type Metadata, type SharpOptions } from "sharp";
import { decodeBmp, isBmp } from "./bmp.ts";
import { cmykToRgb, overWhite } from "./colour.ts";
import { fillAroundFrame } from "./gif.ts";
import { checkPixels, type Image, imageOf, mostPixels } from "./image.ts";
import { decodePnm, isPnm } from "./pnm.ts";

const formats: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff", "heif"];
const expectedFormats = "a JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP or PNM file";

/** Colour spaces as libvips names them. */
const spaces: readonly string[] = ["srgb", "rgb", "b-w", "rgb16", "grey16", "cmyk"];

export interface DecodeOptions {
  /** What errors call the image: a path or a key. @default "image" */
  readonly name?: string;
  /**
   * Larger images are refused before any pixel is decoded, lest a small file exhaust the memory.
   * @default 178956970, where Pillow suspects a decompression bomb
   */
  readonly maxPixels?: number;
}

/**
 * Decodes a JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP or PNM file to `(H, W, 3)`, whatever its file name says. Of animations
 * and of files with several pages, the first.
 *
 * @throws AlignTokError `bad-format` for bytes that are no image or a truncated or damaged one, `unsupported` for SVG,
 * floating-point TIFF, compressed BMP and colour spaces other than gray, RGB and CMYK, `bad-input` above `maxPixels`; each names the image.
 */
export async function decodeImage(
  bytes: Uint8Array,
  { name = "image", maxPixels = mostPixels }: DecodeOptions = {},
): Promise<Image> {
  if (isBmp(bytes)) return decodeBmp(bytes, { name, maxPixels });
  if (isPnm(bytes)) return decodePnm(bytes, { name, maxPixels });
  // "error" refuses truncated files too, but not the odd warning that Pillow passes over, such as damaged EXIF
  const options: SharpOptions = { failOn: "error", ignoreIcc: true, limitInputPixels: false };
  const metadata = await readMetadata(bytes, options, name);
  const { width, height, space, depth, channels, format } = metadata;
  if (!formats.includes(format)) {
    throw new AlignTokError(
      "unsupported",
      `${name}: expected ${expectedFormats}, got ${format}. convert it first`,
    );
  }
  const mostChannels = space === "cmyk" ? 5 : 4; // the last one is alpha
  if (
    !spaces.includes(space) ||
    (depth !== "uchar" && depth !== "ushort") ||
    channels > mostChannels
  ) {
    throw new AlignTokError(
      "unsupported",
      `${name}: expected gray, RGB or CMYK pixels of 8 or 16 bits, got ${channels} channels of ${space}, ${depth}. convert it to 8-bit RGB first`,
    );
  }
  checkPixels({ width, height }, { name, maxPixels });
  try {
    const pipeline = sharp(bytes, options).autoOrient();
    // libvips would convert CMYK by a profile
    if (space === "cmyk") pipeline.pipelineColourspace("cmyk").toColourspace("cmyk");
    const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const image = imageOf(toRgb(pixels, info.channels, space), info);
    if (format === "gif") fillAroundFrame(image, bytes);
    return image;
  } catch (cause) {
    throw damaged(name, format, cause);
  }
}

/**
 * `decodeImage` of a file; errors name its path.
 *
 * @throws AlignTokError as `decodeImage`, and `not-found` or `io` where the file cannot be read.
 */
export async function readImage(path: string, options: DecodeOptions = {}): Promise<Image> {
  const bytes = await readBytes(path);
  return decodeImage(bytes, { name: path, ...options });
}

/** The bytes of an image file. @throws AlignTokError `not-found` or `io`, naming the path */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw code === "ENOENT"
      ? new AlignTokError("not-found", `read ${path}: expected an existing file, got none`, {
          cause,
        })
      : new AlignTokError("io", `read ${path}: ${message}. check the path and its permissions`, {
          cause,
        });
  }
}

async function readMetadata(
  bytes: Uint8Array,
  options: SharpOptions,
  name: string,
): Promise<Metadata> {
  try {
    return await sharp(bytes, options).metadata();
  } catch (cause) {
    if (cause instanceof Error && cause.message.includes("corrupt header")) {
      throw damaged(name, "image", cause);
    }
    const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"));
    const got = bytes.length === 0 ? "an empty file" : `bytes that start with ${start.join(" ")}`;
    throw new AlignTokError("bad-format", `${name}: expected ${expectedFormats}, got ${got}`, {
      cause,
    });
  }
}

function damaged(name: string, format: string, cause: unknown): AlignTokError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, " ");
  return new AlignTokError(
    "bad-format",
    `${name}: expected a complete ${format} file, got a truncated or damaged one (${reason.trim()}). fetch it again or leave it out`,
    { cause },
  );
}

/** Interleaved gray, RGB, RGBA or CMYK to RGB. */
function toRgb(pixels: Uint8Array, channels: number, space: string): Uint8Array {
  if (space === "cmyk") return cmykToRgb(pixels, channels);
  return channels === 4 ? overWhite(pixels) : pixels; // libvips has made gray RGB
}
