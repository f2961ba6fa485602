/** Pooling of images in PyTorch's layout (N, C, H, W). */
import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import type { Infer } from "../trace/kernel.ts";
import { definePrimitive } from "./primitive.ts";
import { mapAxes, matrix } from "./separable.ts";

type Pair = readonly [number, number];
type Sides = readonly [number, number, number, number];

export interface PoolOptions {
  /** Distance between windows: one number, or [down, right]. @default the size of the window */
  readonly stride?: number | Pair;
  /** Around the image: one number for all sides, or [top, left, bottom, right]. @default 0 */
  readonly padding?: number | Sides;
}

export interface MaxPoolOptions extends PoolOptions {
  /** Whether windows that reach over the end count: torch's `ceil_mode`. @default false */
  readonly ceil?: boolean;
}

export interface AveragePoolOptions extends PoolOptions {
  /** Whether zeros of the padding count as pixels: torch's `count_include_pad`. @default true */
  readonly includePadding?: boolean;
}

export interface PoolAttributes extends Attributes {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Sides;
}

const sizeAlong = (attributes: PoolAttributes, length: number, axis: 0 | 1) => {
  const { kernel, stride, padding } = attributes;
  const free = length + padding[axis] + padding[axis + 2]! - kernel[axis];
  return Math.floor(free / stride[axis]) + 1;
};

const pooled: Infer = ([x], attributes) => {
  const [n, c, h, w] = x!.shape as [number, number, number, number];
  const a = attributes as PoolAttributes;
  return { shape: [n, c, sizeAlong(a, h, 0), sizeAlong(a, w, 1)], dtype: "float32" };
};

/** What stands at each place of the window, for all windows: (taps, N, C, H', W'). */
function taps(x: Tensor, attributes: PoolAttributes, margin: number): Tensor {
  const { kernel, stride, padding } = attributes;
  const [top, left, bottom, right] = padding;
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const reach = [
    (sizeAlong(attributes, h, 0) - 1) * stride[0] + 1,
    (sizeAlong(attributes, w, 1) - 1) * stride[1] + 1,
  ] as const;
  const none = [0, 0] as [number, number];
  const padded = tf.pad(x, [none, none, [top, bottom], [left, right]], margin);
  return tf.stack(
    Array.from({ length: kernel[0] * kernel[1] }, (_, tap) => {
      const [i, j] = [Math.floor(tap / kernel[1]), tap % kernel[1]];
      return tf.stridedSlice(
        padded,
        [0, 0, i, j],
        [n, c, i + reach[0], j + reach[1]],
        [1, 1, ...stride],
      );
    }),
  );
}

const maximum = definePrimitive("MaxPool2d", {
  inputs: ["x"],
  infer: pooled,
  reference: ({ x }, attributes) => tf.max(taps(x!, attributes as PoolAttributes, -Infinity), 0),
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, attributes) => ({
      x: () => {
        const x = saved[0]!;
        const places = tf.reshape(argMaximum({ x }, attributes)[0]!, [-1, 1]);
        const slopes = tf.reshape(dy as Tensor, [-1]);
        return tf.reshape(tf.scatterND(places, slopes, [x.size]), x.shape);
      },
    }),
  },
});

/** Where the maximum of each window is, as its place in all of x: the first one where several are equal. */
const argMaximum: ReturnType<typeof definePrimitive> = definePrimitive("MaxPool2dIndices", {
  inputs: ["x"],
  infer: (inputs, attributes) =>
    ({ ...(pooled(inputs, attributes) as object), dtype: "int32" }) as never,
  reference: ({ x }, attributes) => {
    const { kernel, stride, padding } = attributes as PoolAttributes;
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const places = taps(x!, attributes as PoolAttributes, -Infinity);
    const [, , , rows, columns] = places.shape as [number, number, number, number, number];
    const steps = Array.from({ length: kernel[0] * kernel[1] }, (_, tap) => {
      const [i, j] = [Math.floor(tap / kernel[1]), tap % kernel[1]];
      return (i - padding[0]) * w + j - padding[1];
    });
    const step = tf.gather(tf.tensor1d(steps, "int32"), tf.argMax(places, 0));
    const along = (count: number, distance: number, shape: number[]) =>
      tf.tensor(
        Array.from({ length: count }, (_, i) => i * distance),
        shape,
        "int32",
      );
    const starts = tf.add(
      along(rows, stride[0] * w, [rows, 1]),
      along(columns, stride[1], [columns]),
    );
    return tf.add(step, tf.add(along(n * c, h * w, [n, c, 1, 1]), starts));
  },
});

const average = definePrimitive("AveragePool2d", {
  inputs: ["x"],
  infer: pooled,
  reference: ({ x }, attributes) => {
    const sum = tf.sum(taps(x!, attributes as PoolAttributes, 0), 0);
    const { kernel, includePadding } = attributes as PoolAttributes;
    if (includePadding) return tf.div(sum, kernel[0] * kernel[1]);
    const ones = tf.ones([1, 1, ...x!.shape.slice(2)]);
    return tf.div(sum, tf.sum(taps(ones, attributes as PoolAttributes, 0), 0));
  },
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, attributes) => ({
      x: () => spread(dy as Tensor, saved[0]!.shape, attributes as unknown as PoolAttributes),
    }),
  },
});

/** dx of the average: each window's share to all its pixels. */
function spread(dy: Tensor, shape: readonly number[], attributes: PoolAttributes): Tensor {
  const { kernel, stride, padding, includePadding } = attributes;
  const shares = (axis: 0 | 1) => {
    const [length, windows] = [shape[axis + 2]!, dy.shape[axis + 2]!];
    return matrix([length, windows], (pixel, window) => {
      const start = window * stride[axis] - padding[axis];
      const end = start + kernel[axis];
      const count = includePadding ? kernel[axis] : Math.min(end, length) - Math.max(start, 0);
      return pixel >= start && pixel < end ? 1 / count : 0;
    });
  };
  return mapAxes(dy, shares(0), shares(1));
}

/** Pooling by what an engine is told: margins of any size below the window's. Margins are no pixels. */
export function poolWindows(
  kind: "max" | "average",
  x: Tensor,
  attributes: PoolAttributes,
): Tensor {
  return kind === "max"
    ? maximum({ x }, attributes)[0]!
    : average({ x }, { ...attributes, includePadding: false })[0]!;
}

function attributesOf(
  name: string,
  x: Tensor,
  { size, stride, padding }: PoolOptions & { readonly size: number | Pair },
): PoolAttributes {
  const pair = (value: number | Pair): Pair =>
    typeof value === "number" ? [value, value] : [...value];
  const kernel = pair(size);
  const sides: Sides =
    typeof padding === "object"
      ? [...padding]
      : [padding ?? 0, padding ?? 0, padding ?? 0, padding ?? 0];
  check(
    sides.every((pad, i) => pad >= 0 && 2 * pad <= kernel[i % 2]!),
    () => `${name}: expected padding of at most half the window ${kernel}, got ${sides}`,
  );
  const [top, left, bottom, right] = sides;
  check(
    x.rank === 4 &&
      x.shape[2]! + top + bottom >= kernel[0] &&
      x.shape[3]! + left + right >= kernel[1],
    () => `${name}: expected (N, C, H, W) that holds the window ${kernel}, got [${x.shape}]`,
  );
  return { kernel, stride: pair(stride ?? kernel), padding: sides };
}

/**
 * Maximum of each window of `size` pixels: `(N, C, H, W)` to `(N, C, H', W')` with
 * H' = floor((H + pads - size) / stride) + 1. The gradient goes to the first maximum, as in PyTorch.
 */
export function maxPool2d(
  x: Tensor,
  size: number | Pair,
  { stride, padding, ceil = false }: MaxPoolOptions = {},
): Tensor {
  const given = attributesOf("maxPool2d", x, {
    size,
    ...(stride && { stride }),
    ...(padding && { padding }),
  });
  return maximum({ x }, ceil ? reachingOver(given, x.shape) : given)[0]!;
}

/** Margins up to the end of a last window that starts within the image, or its padding before it. */
function reachingOver(given: PoolAttributes, shape: readonly number[]): PoolAttributes {
  const ends = ([0, 1] as const).map((axis) => {
    const [before, after] = [given.padding[axis], given.padding[axis + 2]!];
    const [length, kernel, stride] = [shape[axis + 2]!, given.kernel[axis], given.stride[axis]];
    let last = Math.ceil((length + before + after - kernel) / stride);
    if (last * stride >= length + before) last--;
    return Math.max(after, last * stride + kernel - length - before);
  }) as unknown as Pair;
  const [top, left] = given.padding;
  return { ...given, padding: [top, left, ...ends] };
}

/** Mean of each window of `size` pixels: `(N, C, H, W)` to `(N, C, H', W')`, sizes as in `maxPool2d`. */
export function averagePool2d(
  x: Tensor,
  size: number | Pair,
  { stride, padding, includePadding = true }: AveragePoolOptions = {},
): Tensor {
  const given = attributesOf("averagePool2d", x, {
    size,
    ...(stride && { stride }),
    ...(padding && { padding }),
  });
  return average({ x }, { ...given, includePadding })[0]!;
}
