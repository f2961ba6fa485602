/** Changes of resolution of images in PyTorch's layout (N, C, H, W). */
import { check } from "@aligntok/core";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Value } from "../graph/graph.ts";
import { averagePool2d } from "./pool.ts";
import { definePrimitive } from "./primitive.ts";
import { mapAxes, matrix } from "./separable.ts";

const scaled = (x: Value, factor: number): Value => {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  return { shape: [n, c, Math.floor(h * factor), Math.floor(w * factor)], dtype: x.dtype };
};

const upsample: ReturnType<typeof definePrimitive> = definePrimitive("UpsampleNearest", {
  inputs: ["x"],
  infer: ([x], { factor }) => scaled(x!, factor as number),
  reference: ({ x }, { factor }) => {
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const f = factor as number;
    const spread = tf.tile(tf.reshape(x!, [n * c, h, 1, w, 1]), [1, 1, f, 1, f]);
    return tf.reshape(spread, [n, c, h * f, w * f]);
  },
  gradient: {
    gradFunc: (dy, _, { factor }) => ({
      x: () => tf.mul(averagePool2d(dy as Tensor, factor as number), (factor as number) ** 2),
    }),
  },
});

function checkImages(name: string, x: Tensor): void {
  check(x.rank === 4, () => `${name}: expected (N, C, H, W), got [${x.shape}]`);
}

/** Repeats every pixel 2 by 2: `(N, C, H, W)` to `(N, C, 2H, 2W)`. */
export function upsampleNearest2x(x: Tensor): Tensor {
  checkImages("upsampleNearest2x", x);
  return upsample({ x }, { factor: 2 })[0]!;
}

/** Where the pixels of a resized axis lie among those of the axis before. */
export type Coordinates = "half-pixel" | "align-corners" | "asymmetric";

const bilinear = definePrimitive("ResizeBilinear2d", {
  inputs: ["x"],
  infer: ([x], { size }) => ({
    shape: [...x!.shape.slice(0, 2), ...(size as number[])],
    dtype: "float32",
  }),
  reference: ({ x }, { size, coordinates }) => {
    const nhwc = tf.transpose(x!, [0, 2, 3, 1]) as Tensor4D;
    const resized = tf.image.resizeBilinear(
      nhwc,
      size as [number, number],
      coordinates === "align-corners",
      coordinates === "half-pixel",
    );
    return tf.transpose(resized, [0, 3, 1, 2]);
  },
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, { size, coordinates }) => ({
      x: () => {
        const weights = (axis: 0 | 1) =>
          interpolation([saved[0]!.shape[axis + 2]!, (size as number[])[axis]!], coordinates);
        return mapAxes(dy as Tensor, weights(0), weights(1));
      },
    }),
  },
});

/** How much each pixel of an axis (a row) gives to each of the resized axis (a column). */
function interpolation([from, to]: readonly [number, number], coordinates: unknown): Tensor {
  const corners = coordinates === "align-corners" && to > 1;
  const scale = corners ? (from - 1) / (to - 1) : from / to;
  return matrix([from, to], (source, target) => {
    const shifted = coordinates === "half-pixel" ? (target + 0.5) * scale - 0.5 : target * scale;
    // Between the first and the last pixel, past which they are repeated.
    const place = Math.min(Math.max(shifted, 0), from - 1);
    return Math.max(0, 1 - Math.abs(place - source));
  });
}

/**
 * Bilinear resize of `(N, C, H, W)` to `size` [height, width] like torch's `interpolate`, without antialiasing.
 *
 * `coordinates`: `"half-pixel"`, the default, is torch's `align_corners=False`, `"asymmetric"` what TensorFlow 1 did.
 */
export function resizeBilinear2d(
  x: Tensor,
  size: readonly [number, number],
  { coordinates = "half-pixel" }: { readonly coordinates?: Coordinates } = {},
): Tensor {
  checkImages("resizeBilinear2d", x);
  return bilinear({ x }, { size: [...size], coordinates })[0]!;
}
