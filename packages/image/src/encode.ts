import { check } from "@aligntok/core";
import sharp, { type Sharp } from "sharp";
import { type Image, sizeOfImage } from "./image.ts";

/** The bytes of a PNG file, lossless. The image must not change until the promise resolves. */
export async function encodePng(image: Image): Promise<Uint8Array> {
  return bytesOf(fromImage(image, "encodePng").png());
}

export interface JpegOptions {
  /** 1 to 100. @default 90 */
  readonly quality?: number;
}

/** The bytes of a JPEG file with 4:2:0 chroma. The image must not change until the promise resolves. */
export async function encodeJpeg(
  image: Image,
  { quality = 90 }: JpegOptions = {},
): Promise<Uint8Array> {
  check(
    Number.isInteger(quality) && quality >= 1 && quality <= 100,
    () => `encodeJpeg quality: expected a whole number from 1 to 100, got ${quality}`,
  );
  return bytesOf(fromImage(image, "encodeJpeg").jpeg({ quality }));
}

function fromImage(image: Image, what: string): Sharp {
  const { height, width } = sizeOfImage(image, what);
  const raw = { height, width, channels: 3 } as const;
  return sharp(image.data, { raw, limitInputPixels: false });
}

async function bytesOf(pipeline: Sharp): Promise<Uint8Array> {
  const { buffer, byteOffset, byteLength } = await pipeline.toBuffer();
  return new Uint8Array(buffer, byteOffset, byteLength);
}
