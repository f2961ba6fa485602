/** Images of any size for networks that take multiples of a stride. */
import { type Images, ndarray, rows } from "@aligntok/core";

/** Images `(N, H, W, 3)` with their last row and column repeated up to multiples of `stride`. */
export function padImages(images: Images, stride: number): Images {
  const [n = 0, height = 0, width = 0] = images.shape;
  const [h, w] = [height, width].map((side) => Math.ceil(side / stride) * stride) as [
    number,
    number,
  ];
  if (h === height && w === width) return images;
  const padded = new Uint8Array(n * h * w * 3);
  for (let i = 0; i < n * h; i++) {
    const row = Math.floor(i / h) * height + Math.min(i % h, height - 1);
    const line = images.data.subarray(row * width * 3, (row + 1) * width * 3);
    const to = i * w * 3;
    padded.set(line, to);
    for (let x = width; x < w; x++) padded.set(line.subarray(-3), to + x * 3);
  }
  return ndarray(padded, [n, h, w, 3], "uint8");
}

/** The part of images `(N, H, W, 3)` that was there before `padImages`. */
export function cropImages(images: Images, height: number, width: number): Images {
  const [n = 0, h = 0, w = 0] = images.shape;
  if (h === height && w === width) return images;
  const part = new Uint8Array(n * height * width * 3);
  for (let i = 0; i < n; i++) {
    const { data } = rows(images, i, i + 1);
    for (let y = 0; y < height; y++) {
      const line = data.subarray(y * w * 3, (y * w + width) * 3);
      part.set(line, (i * height + y) * width * 3);
    }
  }
  return ndarray(part, [n, height, width, 3], "uint8");
}
