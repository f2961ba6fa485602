/** Convolution in PyTorch's layout: images (N, C, H, W), weights (O, I, kh, kw). */
import { check } from "@aligntok/core";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { definePrimitive } from "./primitive.ts";

export interface Conv2dOptions {
  /** `(O)`, added to every pixel. @default none */
  readonly bias?: Tensor | undefined;
  /** @default 1 */
  readonly stride?: number;
  /** Zeros around the image: one number for all sides, or [top, left, bottom, right]. @default 0 */
  readonly padding?: number | readonly [number, number, number, number];
  /** Distance between the taps of the kernel. @default 1 */
  readonly dilation?: number;
}

/** Attributes of the three convolution kernels. */
export interface ConvAttributes extends Attributes {
  readonly stride: number;
  readonly padding: readonly [number, number, number, number];
  readonly dilation: number;
}

const none = [0, 0] as [number, number];

// What tfjs's own NHWC kernels want, for the references.
const toNhwc = (x: Tensor) => tf.transpose(x, [0, 2, 3, 1]) as Tensor4D;
const toNchw = (x: Tensor) => tf.transpose(x, [0, 3, 1, 2]);
const toHwio = (w: Tensor) => tf.transpose(w, [2, 3, 1, 0]) as Tensor4D;
const toOihw = (w: Tensor) => tf.transpose(w, [3, 2, 0, 1]);
const padSpace = (x: Tensor, [top, left, bottom, right]: ConvAttributes["padding"]) =>
  tf.pad(x, [none, none, [top, bottom], [left, right]]);

/** A dilated kernel as a larger one with zeros between the taps: (O, I, kh, kw) to (O, I, d (kh-1) + 1, d (kw-1) + 1). */
function spread(weight: Tensor, dilation: number): Tensor {
  if (dilation === 1) return weight;
  const [o, i, kh, kw] = weight.shape as [number, number, number, number];
  const rest = dilation - 1;
  const taps = tf.reshape(weight, [o * i, kh, kw, 1]);
  const columns = tf.pad(taps, [none, none, none, [0, rest]]);
  const rows = tf.pad(tf.reshape(columns, [o * i, kh, 1, kw * dilation]), [
    none,
    none,
    [0, rest],
    none,
  ]);
  const whole = tf.reshape(rows, [o, i, kh * dilation, kw * dilation]);
  return tf.slice(whole, [0, 0, 0, 0], [o, i, dilation * (kh - 1) + 1, dilation * (kw - 1) + 1]);
}

/** The taps of such a kernel: the reverse of `spread`. */
function gather(weight: Tensor, dilation: number): Tensor {
  return dilation === 1
    ? weight
    : tf.stridedSlice(weight, [0, 0, 0, 0], weight.shape, [1, 1, dilation, dilation]);
}

function outputSize(
  size: number,
  kernel: number,
  pads: number,
  { stride, dilation }: ConvAttributes,
) {
  return Math.floor((size + pads - dilation * (kernel - 1) - 1) / stride) + 1;
}

const convolve = definePrimitive("Conv2d", {
  inputs: ["x", "weight", "bias?"],
  infer: ([x, weight], attributes) => {
    const a = attributes as ConvAttributes;
    const [n, , h, w] = x!.shape as [number, number, number, number];
    const [o, , kh, kw] = weight!.shape as [number, number, number, number];
    const [top, left, bottom, right] = a.padding;
    const size = [outputSize(h, kh, top + bottom, a), outputSize(w, kw, left + right, a)] as const;
    check(
      Math.min(...size) > 0,
      () =>
        `conv2d: expected an image that holds the kernel ${kh}x${kw}, got ${h}x${w} with padding ${a.padding}`,
    );
    return { shape: [n, o, ...size], dtype: "float32" };
  },
  reference: ({ x, weight, bias }, attributes) => {
    const { stride, padding, dilation } = attributes as ConvAttributes;
    const image = toNhwc(padSpace(x!, padding));
    const y = tf.conv2d(image, toHwio(spread(weight!, dilation)), stride, "valid");
    return toNchw(bias ? tf.add(y, bias) : y);
  },
  gradient: {
    inputsToSave: ["x", "weight"],
    gradFunc: (dy, saved, attributes) => {
      const [x, weight] = saved as [Tensor, Tensor];
      return {
        x: () =>
          convolveInputGradient(
            { dy: dy as Tensor, weight },
            { ...attributes, shape: x.shape },
          )[0]!,
        weight: () =>
          convolveWeightGradient(
            { dy: dy as Tensor, x },
            { ...attributes, shape: weight.shape },
          )[0]!,
        bias: () => tf.sum(dy as Tensor, [0, 2, 3]),
      };
    },
  },
});

const convolveInputGradient = definePrimitive("Conv2dInputGradient", {
  inputs: ["dy", "weight"],
  infer: (_, { shape }) => ({ shape: shape as number[], dtype: "float32" }),
  reference: ({ dy, weight }, attributes) => {
    const { stride, padding, dilation, shape } = attributes as ConvAttributes & { shape: number[] };
    const [n, c, h, w] = shape as [number, number, number, number];
    const [top, left, bottom, right] = padding;
    const filled = tf.conv2dTranspose(
      toNhwc(dy!),
      toHwio(spread(weight!, dilation)),
      [n, h + top + bottom, w + left + right, c],
      stride,
      "valid",
    );
    return tf.slice(toNchw(filled), [0, 0, top, left], [n, c, h, w]);
  },
});

const convolveWeightGradient = definePrimitive("Conv2dWeightGradient", {
  inputs: ["dy", "x"],
  infer: (_, { shape }) => ({ shape: shape as number[], dtype: "float32" }),
  reference: ({ dy, x }, attributes) => {
    const { stride, padding, dilation, shape } = attributes as ConvAttributes & { shape: number[] };
    const [o, i, kh, kw] = shape as [number, number, number, number];
    const gradient = tf.engine().runKernel(
      "Conv2DBackpropFilter",
      { x: toNhwc(padSpace(x!, padding)), dy: toNhwc(dy!) },
      {
        strides: [stride, stride],
        pad: "valid",
        dataFormat: "NHWC",
        dimRoundingMode: null as never,
        filterShape: [dilation * (kh - 1) + 1, dilation * (kw - 1) + 1, i, o],
      },
    ) as Tensor;
    return gather(toOihw(gradient), dilation);
  },
});

/**
 * Two-dimensional convolution (cross-correlation, as everywhere in deep learning).
 *
 * @param x `(N, I, H, W)` @param weight `(O, I, kh, kw)`
 * @returns `(N, O, H', W')` with H' = floor((H + pads - dilation (kh - 1) - 1) / stride) + 1
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const { bias, stride = 1, padding = 0, dilation = 1 } = options;
  check(
    x.rank === 4 && weight.rank === 4 && x.shape[1] === weight.shape[1],
    () =>
      `conv2d: expected (N, I, H, W) and (O, I, kh, kw), got [${x.shape}] and [${weight.shape}]`,
  );
  check(
    !bias || bias.shape.join() === String(weight.shape[0]),
    () => `conv2d: expected bias [${weight.shape[0]}], got [${bias?.shape}]`,
  );
  const sides = typeof padding === "number" ? [padding, padding, padding, padding] : [...padding];
  return convolve({ x, weight, bias }, { stride, padding: sides, dilation })[0]!;
}
