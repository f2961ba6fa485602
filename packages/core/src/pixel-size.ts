/** Size of images in pixels: the side of squares, or height and width. */
export type PixelSize = number | readonly [height: number, width: number];

export function heightAndWidth(size: PixelSize): readonly [height: number, width: number] {
  return typeof size === "number" ? [size, size] : size;
}

/** One number for a square. */
export function pixelSize(height: number, width: number): PixelSize {
  return height === width ? height : [height, width];
}
