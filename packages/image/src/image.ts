import { check, type DTypeData, type NdArray, ndarray } from "@aligntok/core";

/** `(H, W, 3)` uint8, RGB, rows from top to bottom. */
export type Image = NdArray<"uint8">;

/** Types of pixels that are resized: Pillow's 8-bit modes, `I;16`, `I` and `F`. */
export type PixelType = "uint8" | "uint16" | "int32" | "float32";

export type PixelData = DTypeData[PixelType];

const pixelTypes: readonly string[] = ["uint8", "uint16", "int32", "float32"];

/** Where Pillow suspects a decompression bomb. */
export const mostPixels = 178_956_970;

/** Height and width of an image. @throws AlignTokError `bad-input` unless it is `(H, W, 3)` uint8 and not empty. */
export function sizeOfImage(image: Image, what: string): { height: number; width: number } {
  const { dtype, shape } = image;
  check(
    dtype === "uint8" && shape.length === 3 && shape[2] === 3 && !shape.includes(0),
    () => `${what}: expected an image (H, W, 3) of uint8, got [${shape}] of ${dtype}`,
  );
  return sizeOfPixels(image, what);
}

/** Size of pixels of any type. @throws AlignTokError `bad-input` unless they are `(H, W, C)` and not empty. */
export function sizeOfPixels(
  { dtype, shape, data }: NdArray,
  what: string,
): { height: number; width: number; channels: number } {
  const [height = 0, width = 0, channels = 0] = shape;
  check(
    pixelTypes.includes(dtype) && shape.length === 3 && !shape.includes(0),
    () => `${what}: expected (H, W, C) of ${pixelTypes.join(", ")}, got [${shape}] of ${dtype}`,
  );
  const count = height * width * channels;
  check(
    data.length === count,
    () => `${what}: expected ${count} elements for [${shape}], got ${data.length}`,
  );
  return { height, width, channels };
}

/** Throws AlignTokError `bad-input` unless `value` is a whole number of at least 1. */
export function checkCount(value: number, what: string): void {
  check(
    Number.isSafeInteger(value) && value >= 1,
    () => `${what}: expected a whole number of at least 1, got ${value}`,
  );
}

/** RGB bytes as an image, not copied. */
export function imageOf(
  rgb: Uint8Array,
  { height, width }: { readonly height: number; readonly width: number },
): Image {
  return ndarray(rgb, [height, width, 3], "uint8");
}

/** Throws AlignTokError `bad-input` for images that are larger than allowed. */
export function checkPixels(
  { height, width }: { readonly height: number; readonly width: number },
  { name, maxPixels }: { readonly name: string; readonly maxPixels: number },
): void {
  check(
    width * height <= maxPixels,
    () =>
      `${name}: expected at most ${maxPixels} pixels, got ${width} x ${height}. take something smaller or raise maxPixels`,
  );
}

/** Python's `round`: halves go to the even neighbour. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
