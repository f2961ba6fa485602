/** Pooling and resizing of images (N, H, W, C), as `layout.ts` has transposed them. */
import type { PoolAttributes } from "../primitives/pool.ts";
import type { LoweringTable } from "./lower.ts";

export const images: LoweringTable = {
  NhwcMaxPool2d: ({ attributes }, [x], builder) => {
    const [top, left, bottom, right] = (attributes as PoolAttributes).padding;
    const padded = top + left + bottom + right > 0;
    return builder.add("MaxPool", [x!], {
      ...windowOf(attributes as PoolAttributes),
      padding: padded ? "EXPLICIT" : "VALID",
      ...(padded && { explicit_paddings: [0, 0, top, bottom, left, right, 0, 0] }),
    });
  },
  NhwcAveragePool2d: ({ attributes }, [x], builder) =>
    builder.add("AvgPool", [x!], {
      ...windowOf(attributes as PoolAttributes),
      padding: "VALID",
    }),
  NhwcUpsampleNearest: ({ outputs: [y] }, [x], builder) =>
    builder.add("ResizeNearestNeighbor", [x!, builder.ints(y!.shape.slice(1, 3))]),
  NhwcResizeBilinear2d: ({ attributes: { coordinates }, outputs: [y] }, [x], builder) =>
    builder.add("ResizeBilinear", [x!, builder.ints(y!.shape.slice(1, 3))], {
      align_corners: coordinates === "align-corners",
      half_pixel_centers: coordinates === "half-pixel",
    }),
};

function windowOf({ kernel, stride }: PoolAttributes) {
  return { ksize: [1, ...kernel, 1], strides: [1, ...stride, 1], data_format: "NHWC" };
}
