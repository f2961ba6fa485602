import { check, type Images, type NdArray, ndarray, zeros } from "@aligntok/core";

/** `(N, H, W, 3)` uint8 to `(N, 3, H, W)` float32 in [-1, 1]: x / 127.5 - 1. */
export function toPlanes(images: Images): NdArray<"float32"> {
  const [n, height, width] = checkImages(images);
  const planes = zeros([n, 3, height, width]);
  const pixels = height * width;
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) {
      const out = (i * 3 + c) * pixels;
      for (let p = 0; p < pixels; p++) {
        planes.data[out + p] = images.data[(i * pixels + p) * 3 + c]! / 127.5 - 1;
      }
    }
  }
  return planes;
}

/** `(N, 3, H, W)` in [-1, 1] to `(N, H, W, 3)` uint8, rounded and clipped. */
export function toPixels(planes: NdArray<"float32">): Images {
  const [n, , height, width] = planes.shape as [number, number, number, number];
  const pixels = height * width;
  const data = new Uint8ClampedArray(n * pixels * 3); // rounds half to even and clips
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) {
      const from = (i * 3 + c) * pixels;
      for (let p = 0; p < pixels; p++) {
        data[(i * pixels + p) * 3 + c] = (planes.data[from + p]! + 1) * 127.5;
      }
    }
  }
  return ndarray(new Uint8Array(data.buffer), [n, height, width, 3], "uint8");
}

/** The N, H and W of images. @throws AlignTokError `bad-input` unless they are (N, H, W, 3) uint8 */
export function checkImages(images: Images): [number, number, number] {
  check(
    images.dtype === "uint8" && images.shape.length === 4 && images.shape[3] === 3,
    () =>
      `images: expected uint8 (N, H, W, 3), got ${images.dtype} [${images.shape}]. decode or convert them first`,
  );
  return images.shape.slice(0, 3) as [number, number, number];
}
