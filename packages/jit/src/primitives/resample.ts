/** Changes of resolution of images in PyTorch's layout (N, C, H, W). */
import { check } from "@aligntok/core";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Value } from "../graph/graph.ts";
import { definePrimitive } from "./primitive.ts";

const scaled = (x: Value, factor: number): Value => {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  return { shape: [n, c, Math.floor(h * factor), Math.floor(w * factor)], dtype: x.dtype };
};

/** (N, C, H, W) as (N, C, H/f, f, W/f, f): every window of f by f pixels on axes 3 and 5. */
function windows(x: Tensor, f: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [rows, columns] = [Math.floor(h / f), Math.floor(w / f)];
  const whole = tf.slice(x, [0, 0, 0, 0], [n, c, rows * f, columns * f]);
  return tf.reshape(whole, [n, c, rows, f, columns, f]);
}

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
      x: () => tf.mul(pool({ x: dy as Tensor }, { factor })[0]!, (factor as number) ** 2),
    }),
  },
});

const pool: ReturnType<typeof definePrimitive> = definePrimitive("AveragePool2d", {
  inputs: ["x"],
  infer: ([x], { factor }) => scaled(x!, 1 / (factor as number)),
  reference: ({ x }, { factor }) => tf.mean(windows(x!, factor as number), [3, 5]),
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, { factor }) => ({
      x: () => {
        const f = factor as number;
        const spread = upsample({ x: tf.div(dy as Tensor, f * f) }, { factor })[0]!;
        return padTo(spread, saved[0]!.shape);
      },
    }),
  },
});

const maximum = definePrimitive("MaxPool2d", {
  inputs: ["x"],
  infer: ([x], { factor }) => scaled(x!, 1 / (factor as number)),
  reference: ({ x }, { factor }) => tf.max(windows(x!, factor as number), [3, 5]),
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, { factor }) => ({
      x: () => {
        const x = saved[0]!;
        const f = factor as number;
        const split = windows(x, f);
        const [n, c, rows, , columns] = split.shape as number[] as [
          number,
          number,
          number,
          number,
          number,
        ];
        const last = tf.reshape(tf.transpose(split, [0, 1, 2, 4, 3, 5]), [
          n,
          c,
          rows,
          columns,
          f * f,
        ]);
        const first = tf.cast(tf.oneHot(tf.argMax(last, -1), f * f), "float32");
        const spread = tf.reshape(tf.mul(first, tf.expandDims(dy as Tensor, -1)), [
          n,
          c,
          rows,
          columns,
          f,
          f,
        ]);
        const image = tf.reshape(tf.transpose(spread, [0, 1, 2, 4, 3, 5]), [
          n,
          c,
          rows * f,
          columns * f,
        ]);
        return padTo(image, x.shape);
      },
    }),
  },
});

function padTo(x: Tensor, shape: readonly number[]): Tensor {
  const [bottom, right] = [shape[2]! - x.shape[2]!, shape[3]! - x.shape[3]!];
  return bottom || right
    ? tf.pad(x, [
        [0, 0],
        [0, 0],
        [0, bottom],
        [0, right],
      ])
    : x;
}

function checkImages(name: string, x: Tensor, smallest = 1): void {
  check(
    x.rank === 4 && x.shape[2]! >= smallest && x.shape[3]! >= smallest,
    () => `${name}: expected (N, C, H, W) of at least ${smallest} pixels a side, got [${x.shape}]`,
  );
}

/** Repeats every pixel 2 by 2: `(N, C, H, W)` to `(N, C, 2H, 2W)`. */
export function upsampleNearest2x(x: Tensor): Tensor {
  checkImages("upsampleNearest2x", x);
  return upsample({ x }, { factor: 2 })[0]!;
}

/** Mean of windows of `size` by `size` pixels, without overlap: `(N, C, H, W)` to `(N, C, H/size, W/size)`, rounded down. */
export function averagePool2d(x: Tensor, size: number): Tensor {
  checkImages("averagePool2d", x, size);
  return pool({ x }, { factor: size })[0]!;
}

/** Maximum of windows of `size` by `size` pixels, without overlap; the gradient goes to the first maximum, as in PyTorch. */
export function maxPool2d(x: Tensor, size: number): Tensor {
  checkImages("maxPool2d", x, size);
  return maximum({ x }, { factor: size })[0]!;
}

const bilinear = definePrimitive("ResizeBilinear2d", {
  inputs: ["x"],
  infer: ([x], { size }) => ({
    shape: [...x!.shape.slice(0, 2), ...(size as number[])],
    dtype: "float32",
  }),
  reference: ({ x }, { size }) => {
    const nhwc = tf.transpose(x!, [0, 2, 3, 1]) as Tensor4D;
    return tf.transpose(
      tf.image.resizeBilinear(nhwc, size as [number, number], false, true),
      [0, 3, 1, 2],
    );
  },
});

/**
 * Bilinear resize of `(N, C, H, W)` to `size` [height, width] like torch's `interpolate` with
 * `align_corners=False`: half-pixel centres, no antialiasing. Not differentiable.
 */
export function resizeBilinear2d(x: Tensor, size: readonly [number, number]): Tensor {
  checkImages("resizeBilinear2d", x);
  return bilinear({ x }, { size: [...size] })[0]!;
}
