/** The crops that vision models are trained and evaluated with. */

import { check } from "@aligntok/core";
import type { ResizeFilter } from "./filters.ts";
import { checkCount, type Image, sizeOfImage } from "./image.ts";
import { resize, resizeWindow } from "./resize.ts";

export interface ResizeShortSideOptions {
  /** @default "bicubic" */
  readonly filter?: ResizeFilter;
}

/**
 * Resizes so that the shorter side has `size` pixels and the other `floor(size * long / short)`: the rule of
 * torchvision's `Resize(size)` and of Hugging Face's `shortest_edge`.
 */
export function resizeShortSide(
  image: Image,
  size: number,
  { filter = "bicubic" }: ResizeShortSideOptions = {},
): Image {
  checkCount(size, "resizeShortSide size");
  const { height, width } = sizeOfImage(image, "resizeShortSide");
  const short = Math.min(height, width);
  const long = Math.floor((size * Math.max(height, width)) / short);
  return height < width
    ? resize(image, { height: size, width: long, filter })
    : resize(image, { height: long, width: size, filter });
}

/**
 * The middle of an image, a copy. Where an odd number of pixels has to go, the halves round to even as in
 * torchvision's `CenterCrop`; unlike it, an image that is too small is an error and is not padded.
 *
 * @param size Side of a square, or height and width, in pixels.
 */
export function centerCrop(
  image: Image,
  size: number | { readonly height: number; readonly width: number },
): Image {
  const wanted = typeof size === "number" ? { height: size, width: size } : size;
  checkCount(wanted.height, "centerCrop height");
  checkCount(wanted.width, "centerCrop width");
  const { height, width } = sizeOfImage(image, "centerCrop");
  check(
    wanted.height <= height && wanted.width <= width,
    () =>
      `centerCrop: expected an image of at least ${wanted.height} x ${wanted.width}, got ${height} x ${width}. resize it first`,
  );
  return resizeWindow(
    image,
    { height, width },
    {
      top: roundHalfEven((height - wanted.height) / 2),
      left: roundHalfEven((width - wanted.width) / 2),
      ...wanted,
    },
  );
}

/**
 * The square crop with which ADM, DiT, SiT and LightningDiT prepare ImageNet: halved by box averages while the
 * short side is at least twice `size`, resized to `size` by bicubic, cropped in the middle. `(size, size, 3)`.
 *
 * Reference: openai/guided-diffusion at 22e0df8, `image_datasets.py`, `center_crop_arr`. Every bit is the same.
 */
export function centerCropAdm(image: Image, size: number): Image {
  checkCount(size, "centerCropAdm size");
  let { height, width } = sizeOfImage(image, "centerCropAdm");
  let halved = image;
  while (Math.min(height, width) >= 2 * size) {
    height = Math.floor(height / 2);
    width = Math.floor(width / 2);
    halved = resize(halved, { height, width, filter: "box" });
  }
  const scale = size / Math.min(height, width);
  height = roundHalfEven(height * scale);
  width = roundHalfEven(width * scale);
  const top = Math.floor((height - size) / 2);
  const left = Math.floor((width - size) / 2);
  return resizeWindow(
    halved,
    { height, width, filter: "bicubic" },
    { top, left, height: size, width: size },
  );
}

/** Python's `round`: halves go to the even neighbour. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
