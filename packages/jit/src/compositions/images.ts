/**
 * tfjs's operations on images in its own layout, (N, H, W, C), as our primitives in (N, C, H, W) between two
 * transpositions, which the passes cancel where several follow each other.
 */
import { AlignTokError } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { conv2d } from "../primitives/conv.ts";
import { poolWindows } from "../primitives/pool.ts";
import { resizeBilinear2d } from "../primitives/resample.ts";
import { defineReplacement } from "../trace/kernel.ts";
import { defineComposition, pullback } from "./composition.ts";

type Image = [number, number, number, number];
type Info = ReturnType<typeof tf.backend_util.computeConv2DInfo>;

const toNchw = (x: Tensor) => tf.transpose(x, [0, 3, 1, 2]);
const toNhwc = (x: Tensor) => tf.transpose(x, [0, 2, 3, 1]);

/** [top, left, bottom, right], no more than the last windows reach. */
function paddingOf(info: Info, [kh, kw]: readonly [number, number]): Image {
  const { top, left } = info.padInfo;
  const bottom = (info.outHeight - 1) * info.strideHeight + kh - info.inHeight - top;
  const right = (info.outWidth - 1) * info.strideWidth + kw - info.inWidth - left;
  return [top, left, Math.max(bottom, 0), Math.max(right, 0)];
}

function convolve(
  x: Tensor,
  filter: Tensor,
  { attributes, depthwise }: { readonly attributes: Attributes; readonly depthwise: boolean },
): Tensor {
  const { strides, pad, dataFormat, dilations, dimRoundingMode } = attributes;
  const first = dataFormat === "NCHW";
  const info = tf.backend_util.computeConv2DInfo(
    x.shape as Image,
    filter.shape as Image,
    strides as number,
    (dilations as number | undefined) ?? 1,
    pad as number,
    (dimRoundingMode as "floor" | null) ?? undefined,
    depthwise,
    first ? "channelsFirst" : "channelsLast",
  );
  const [kh, kw, inputs, outputs] = filter.shape as Image;
  const { dilationHeight: dilation, strideHeight, strideWidth, outHeight, outWidth } = info;
  if (dilation !== info.dilationWidth) {
    throw new AlignTokError(
      "unsupported",
      `tf.conv2d: expected equal dilations, got ${dilation} and ${info.dilationWidth}`,
    );
  }
  // Strides that differ: every window is computed, and those between are left out.
  const stride = strideHeight === strideWidth ? strideHeight : 1;
  const windows = conv2d(
    first ? x : toNchw(x),
    depthwise
      ? tf.reshape(tf.transpose(filter, [2, 3, 0, 1]), [inputs * outputs, 1, kh, kw])
      : tf.transpose(filter, [3, 2, 0, 1]),
    {
      stride,
      padding: paddingOf(info, [dilation * (kh - 1) + 1, dilation * (kw - 1) + 1]),
      dilation,
      groups: depthwise ? inputs : 1,
    },
  );
  const y =
    strideHeight === strideWidth
      ? windows
      : tf.stridedSlice(
          windows,
          [0, 0, 0, 0],
          [
            windows.shape[0]!,
            windows.shape[1]!,
            (outHeight - 1) * strideHeight + 1,
            (outWidth - 1) * strideWidth + 1,
          ],
          [1, 1, strideHeight, strideWidth],
        );
  return first ? cropTo(y, info) : toNhwc(cropTo(y, info));
}

/** Without windows more than tfjs counts, which takes a padding by number with the height of the kernel alone. */
function cropTo(y: Tensor, { outHeight, outWidth }: Info): Tensor {
  const [n, c, h, w] = y.shape as Image;
  return h === outHeight && w === outWidth
    ? y
    : tf.slice(y, [0, 0, 0, 0], [n, c, outHeight, outWidth]);
}

for (const [name, depthwise] of [
  ["Conv2D", false],
  ["DepthwiseConv2dNative", true],
] as const) {
  const backprop = depthwise ? "DepthwiseConv2dNativeBackprop" : "Conv2DBackprop";
  defineComposition(name, ["x", "filter"], ({ x, filter }, attributes) =>
    convolve(x!, filter!, { attributes, depthwise }),
  );
  // A convolution is linear in both, so that where its gradients are taken does not matter.
  defineComposition(`${backprop}Input`, ["dy", "filter"], ({ dy, filter }, attributes) => {
    const shape = attributes.inputShape as number[];
    return pullback((x) => convolve(x, filter!, { attributes, depthwise }), tf.zeros(shape), dy!);
  });
  defineComposition(`${backprop}Filter`, ["x", "dy"], ({ x, dy }, attributes) => {
    const shape = attributes.filterShape as number[];
    return pullback(
      (filter) => convolve(x!, filter, { attributes, depthwise }),
      tf.zeros(shape),
      dy!,
    );
  });
}

const pool =
  (kind: "max" | "average") =>
  (x: Tensor, { filterSize, strides, pad, dimRoundingMode }: Attributes): Tensor => {
    const info = tf.backend_util.computePool2DInfo(
      x.shape as Image,
      filterSize as number,
      strides as number,
      1,
      pad as number,
      (dimRoundingMode as "floor" | null) ?? undefined,
    );
    const kernel = [info.filterHeight, info.filterWidth] as const;
    const y = poolWindows(kind, toNchw(x), {
      kernel,
      stride: [info.strideHeight, info.strideWidth],
      padding: paddingOf(info, kernel),
    });
    return toNhwc(cropTo(y, info));
  };
for (const [name, kind] of [
  ["MaxPool", "max"],
  ["AvgPool", "average"],
] as const) {
  const apply = pool(kind);
  defineComposition(name, ["x"], ({ x }, attributes) => apply(x!, attributes));
  defineReplacement(`${name}Grad`, ({ input, dy }, attributes) =>
    pullback((x) => apply(x, attributes), input!, dy!),
  );
}

const resizeBilinear = (images: Tensor, { size, alignCorners, halfPixelCenters }: Attributes) =>
  toNhwc(
    resizeBilinear2d(toNchw(images), size as [number, number], {
      coordinates: alignCorners ? "align-corners" : halfPixelCenters ? "half-pixel" : "asymmetric",
    }),
  );

/** Picks whole rows and columns, so that the result is exact on every engine. */
const resizeNearest = (images: Tensor, { size, alignCorners, halfPixelCenters }: Attributes) =>
  (size as number[]).reduce((picked, to, i) => {
    const from = images.shape[i + 1]!;
    const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
    const places = Array.from({ length: to }, (_, place) => {
      const source = scale * (halfPixelCenters ? place + 0.5 : place);
      return Math.min(from - 1, alignCorners ? Math.round(source) : Math.floor(source));
    });
    return tf.gather(picked, tf.tensor1d(places, "int32"), i + 1);
  }, images);

for (const [name, apply] of [
  ["ResizeBilinear", resizeBilinear],
  ["ResizeNearestNeighbor", resizeNearest],
] as const) {
  defineComposition(name, ["images"], ({ images }, attributes) => apply(images!, attributes));
  defineReplacement(`${name}Grad`, ({ images, dy }, attributes) => {
    const size = dy!.shape.slice(1, 3);
    return pullback((x) => apply(x, { ...attributes, size }), images!, dy!);
  });
}

/** (x - mean) scale / sqrt(variance + epsilon) + offset, as one factor and one term for each channel. */
defineComposition(
  "FusedBatchNorm",
  ["x", "mean", "variance", "scale", "offset"],
  ({ x, mean, variance, scale, offset }, { varianceEpsilon }) => {
    const inverse = tf.rsqrt(tf.add(variance!, varianceEpsilon as number));
    const factor = scale ? tf.mul(inverse, scale) : inverse;
    const shift = tf.neg(tf.mul(mean!, factor));
    return tf.add(tf.mul(x!, factor), offset ? tf.add(shift, offset) : shift);
  },
);
