import { ndarray } from "@aligntok/core";
import type { Image } from "./image.ts";

/** An image `(H, W, 3)` with left and right exchanged. */
export function mirrorImage(image: Image): Image {
  const [height = 0, width = 0] = image.shape;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + width - 1 - x) * 3;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return ndarray(data, [height, width, 3], "uint8");
}
