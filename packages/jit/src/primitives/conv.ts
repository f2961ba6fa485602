/** Convolution in PyTorch's layout: images (N, C, H, W), weights (O, I, kh, kw). */
import { check } from "@aligntok/core";
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { pixelUnshuffle } from "./pixel-shuffle.ts";
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
  /** Channels are divided into so many groups, each convolved by itself; as many as channels: depthwise. @default 1 */
  readonly groups?: number;
}

export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Rows and columns added at the bottom and right, where several sizes have the same number of strides. @default 0 */
  readonly outputPadding?: number;
}

/** Attributes of the three convolution kernels. */
export interface ConvAttributes extends Attributes {
  readonly stride: number;
  readonly padding: readonly [number, number, number, number];
  readonly dilation: number;
  readonly groups: number;
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

/** `one` for each group of channels (on the given axes of both), joined along an axis. */
function inGroups(
  groups: number,
  [a, axisOfA]: readonly [Tensor, number],
  [b, axisOfB]: readonly [Tensor, number],
  { join, one }: { readonly join: number; readonly one: (a: Tensor, b: Tensor) => Tensor },
): Tensor {
  if (groups === 1) return one(a, b);
  const bs = tf.split(b, groups, axisOfB);
  return tf.concat(
    tf.split(a, groups, axisOfA).map((part, i) => one(part, bs[i]!)),
    join,
  );
}

function outputSize(
  size: number,
  kernel: number,
  pads: number,
  { stride, dilation }: ConvAttributes,
) {
  return Math.floor((size + pads - dilation * (kernel - 1) - 1) / stride) + 1;
}

const convolve: ReturnType<typeof definePrimitive> = definePrimitive("Conv2d", {
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
    const { stride, padding, dilation, groups } = attributes as ConvAttributes;
    const y = inGroups(groups, [padSpace(x!, padding), 1], [spread(weight!, dilation), 0], {
      join: 1,
      one: (image, w) => toNchw(tf.conv2d(toNhwc(image), toHwio(w), stride, "valid")),
    });
    return bias ? tf.add(y, tf.reshape(bias, [1, -1, 1, 1])) : y;
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

type Shaped = ConvAttributes & { readonly shape: readonly [number, number, number, number] };

// Each of the three products is linear in both of its factors, so that the other two are its gradients.
const convolveInputGradient: typeof convolve = definePrimitive("Conv2dInputGradient", {
  inputs: ["dy", "weight"],
  infer: (_, { shape }) => ({ shape: shape as number[], dtype: "float32" }),
  reference: ({ dy, weight }, attributes) => {
    const { stride, padding, dilation, groups, shape } = attributes as Shaped;
    const [n, c, h, w] = shape;
    const [top, left, bottom, right] = padding;
    const size = [n, h + top + bottom, w + left + right, c / groups] as [
      number,
      number,
      number,
      number,
    ];
    const filled = inGroups(groups, [dy!, 1], [spread(weight!, dilation), 0], {
      join: 1,
      one: (slope, w) =>
        toNchw(tf.conv2dTranspose(toNhwc(slope), toHwio(w), size, stride, "valid")),
    });
    return tf.slice(filled, [0, 0, top, left], [n, c, h, w]);
  },
  gradient: {
    inputsToSave: ["dy", "weight"],
    gradFunc: (d, saved, attributes) => {
      const [dy, weight] = saved as [Tensor, Tensor];
      const dx = d as Tensor;
      return {
        dy: () => convolve({ x: dx, weight }, attributes)[0]!,
        weight: () =>
          convolveWeightGradient({ dy, x: dx }, { ...attributes, shape: weight.shape })[0]!,
      };
    },
  },
});

const convolveWeightGradient: typeof convolve = definePrimitive("Conv2dWeightGradient", {
  inputs: ["dy", "x"],
  infer: (_, { shape }) => ({ shape: shape as number[], dtype: "float32" }),
  reference: ({ dy, x }, attributes) => {
    const { stride, padding, dilation, groups, shape } = attributes as Shaped;
    const [o, i, kh, kw] = shape;
    const filterShape = [dilation * (kh - 1) + 1, dilation * (kw - 1) + 1, i, o / groups];
    const gradient = inGroups(groups, [dy!, 1], [padSpace(x!, padding), 1], {
      join: 0,
      one: (slope, image) =>
        toOihw(
          tf.engine().runKernel(
            "Conv2DBackpropFilter",
            { x: toNhwc(image), dy: toNhwc(slope) },
            {
              strides: [stride, stride],
              pad: "valid",
              dataFormat: "NHWC",
              dimRoundingMode: null as never,
              filterShape,
            },
          ) as Tensor,
        ),
    });
    return gather(gradient, dilation);
  },
  gradient: {
    inputsToSave: ["dy", "x"],
    gradFunc: (d, saved, attributes) => {
      const [dy, x] = saved as [Tensor, Tensor];
      const weight = d as Tensor;
      return {
        dy: () => convolve({ x, weight }, attributes)[0]!,
        x: () => convolveInputGradient({ dy, weight }, { ...attributes, shape: x.shape })[0]!,
      };
    },
  },
});

const sidesOf = (padding: NonNullable<Conv2dOptions["padding"]>): ConvAttributes["padding"] =>
  typeof padding === "number" ? [padding, padding, padding, padding] : [...padding];

/**
 * Two-dimensional convolution (cross-correlation, as everywhere in deep learning).
 *
 * @param x `(N, I, H, W)` @param weight `(O, I / groups, kh, kw)`
 * @returns `(N, O, H', W')` with H' = floor((H + pads - dilation (kh - 1) - 1) / stride) + 1
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const { bias, stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  check(
    x.rank === 4 && weight.rank === 4 && x.shape[1] === weight.shape[1]! * groups,
    () =>
      `conv2d: expected (N, I, H, W) and (O, I / ${groups}, kh, kw), got [${x.shape}] and [${weight.shape}]`,
  );
  check(
    weight.shape[0]! % groups === 0,
    () => `conv2d: expected a multiple of ${groups} groups of outputs, got ${weight.shape[0]}`,
  );
  check(
    !bias || bias.shape.join() === String(weight.shape[0]),
    () => `conv2d: expected bias [${weight.shape[0]}], got [${bias?.shape}]`,
  );
  const attributes = { stride, padding: sidesOf(padding), dilation, groups };
  const dense = groups === 1 && dilation === 1 ? withoutStride(x, weight, attributes) : undefined;
  if (!dense) return convolve({ x, weight, bias }, attributes)[0]!;
  const plain = { stride: 1, padding: [...none, ...none], dilation, groups };
  return convolve({ ...dense, bias }, plain)[0]!;
}

/**
 * A strided convolution whose kernel is a multiple of the stride, such as 4x4 with stride 2, as one without stride
 * on an image with `stride` by `stride` pixels as channels. The same products, but the gradients need neither a
 * transposed convolution nor strided copies. Undefined where the kernel does not fit.
 */
function withoutStride(
  x: Tensor,
  weight: Tensor,
  attributes: ConvAttributes,
): { x: Tensor; weight: Tensor } | undefined {
  const { stride, padding } = attributes;
  const [o, c, kh, kw] = weight.shape as [number, number, number, number];
  if (stride === 1 || kh % stride !== 0 || kw % stride !== 0) return undefined;
  const [top, left, bottom, right] = padding;
  const [n, , h, w] = x.shape as [number, number, number, number];
  // What the windows reach: less than the padded image where the last of them does not fit.
  const reach = (size: number, kernel: number, pads: number) =>
    (outputSize(size, kernel, pads, attributes) - 1) * stride + kernel;
  const [rows, columns] = [reach(h, kh, top + bottom), reach(w, kw, left + right)];
  if (rows < kh || columns < kw) return undefined; // no window fits, which the kernel refuses
  const used = tf.slice(padSpace(x, padding), [0, 0, 0, 0], [n, c, rows, columns]);
  const taps = [kh / stride, kw / stride] as const;
  const split = tf.reshape(weight, [o, c, taps[0], stride, taps[1], stride]);
  const kernels = tf.transpose(split, [0, 1, 3, 5, 2, 4]); // (O, C, s, s, kh / s, kw / s)
  return {
    x: pixelUnshuffle(used, stride),
    weight: tf.reshape(kernels, [o, c * stride ** 2, ...taps]),
  };
}

/**
 * Transposed convolution, the gradient of `conv2d` by its input, like torch.nn.functional.conv_transpose2d.
 *
 * @param x `(N, I, H, W)` @param weight `(I, O / groups, kh, kw)`
 * @returns `(N, O, H', W')` with H' = (H - 1) stride - pads + dilation (kh - 1) + outputPadding + 1
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  options: ConvTranspose2dOptions = {},
): Tensor {
  const { bias, stride = 1, padding = 0, dilation = 1, groups = 1, outputPadding = 0 } = options;
  check(
    x.rank === 4 &&
      weight.rank === 4 &&
      x.shape[1] === weight.shape[0]! &&
      x.shape[1]! % groups === 0,
    () =>
      `convTranspose2d: expected (N, I, H, W) and (I, O / ${groups}, kh, kw), got [${x.shape}] and [${weight.shape}]`,
  );
  check(
    outputPadding >= 0 && outputPadding < stride,
    () =>
      `convTranspose2d: expected outputPadding below the stride ${stride}, got ${outputPadding}`,
  );
  const outputs = weight.shape[1]! * groups;
  check(
    !bias || bias.shape.join() === String(outputs),
    () => `convTranspose2d: expected bias [${outputs}], got [${bias?.shape}]`,
  );
  const sides = sidesOf(padding);
  const size = [2, 3].map(
    (axis, i) =>
      (x.shape[axis]! - 1) * stride -
      (sides[i]! + sides[i + 2]!) +
      dilation * (weight.shape[axis]! - 1) +
      outputPadding +
      1,
  );
  check(
    Math.min(...size) > 0,
    () => `convTranspose2d: expected an image that outlasts its padding, got [${x.shape}]`,
  );
  const y = convolveInputGradient(
    { dy: x, weight },
    { stride, padding: sides, dilation, groups, shape: [x.shape[0]!, outputs, ...size] },
  )[0]!;
  return bias ? tf.add(y, tf.reshape(bias, [1, outputs, 1, 1])) : y;
}
