/** The crops that vision models are trained and evaluated with. */

import type { ResizeFilter } from "./filters.ts";
import { checkCount, type Image, roundHalfEven, sizeOfImage } from "./image.ts";
import { resize, resizeWindow } from "./resize.ts";
import { type ImageSize, type TransformOptions, transformImage } from "./transform.ts";

export interface ResizeShortSideOptions extends TransformOptions {
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
  { filter = "bicubic", ...options }: ResizeShortSideOptions = {},
): Image {
  return transformImage(image, { resize: size, filter }, options);
}

/**
 * The middle of an image, a copy, as torchvision's `CenterCrop` gives it: where an odd number of pixels has to go,
 * the halves round to even, and a crop that is larger than the image has black edges.
 *
 * @param size Side of a square, or height and width, in pixels.
 */
export function centerCrop(image: Image, size: number | ImageSize): Image {
  return transformImage(image, { crop: size });
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
