import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { silu, siluSlope } from "./activation.ts";
import { definePrimitive } from "./primitive.ts";

/** `x * scale + shift` with one scale and shift for each image and channel, in one pass over the memory. */
const channelAffine = definePrimitive("ChannelAffine", {
  inputs: ["x", "scale", "shift"], // (N, C, H, W), (N, C, 1, 1), (N, C, 1, 1)
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, scale, shift }) => tf.add(tf.mul(x!, scale!), shift!),
});

export interface GroupNormOptions {
  /** Number of groups that the channels are divided into. */
  readonly groups: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Whether `x * sigmoid(x)` follows. @default false */
  readonly silu?: boolean;
}

/**
 * Group normalisation of `(N, C, H, W)`, like torch.nn.functional.group_norm, optionally followed by SiLU.
 *
 * No engine has one operation for it, so it is a composition with a gradient of its own: one scale and
 * shift per image and channel, and two reductions over the pixels on the way back.
 *
 * @param weight `(C)` @param bias `(C)`
 */
export function groupNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: GroupNormOptions,
): Tensor {
  const { groups, eps, silu: activated = false } = options;
  check(
    x.rank === 4 && x.shape[1]! % groups === 0,
    () => `groupNorm: expected (N, C, H, W) with C a multiple of ${groups}, got [${x.shape}]`,
  );
  check(
    [weight, bias].every(({ shape }) => shape.join() === String(x.shape[1])),
    () =>
      `groupNorm: expected weight and bias [${x.shape[1]}], got [${weight.shape}] and [${bias.shape}]`,
  );
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const perGroup = [n, groups, c / groups];
  const perChannel = [n, c, 1, 1];
  const ofGroups = (channels: Tensor) => tf.reshape(channels, [1, groups, c / groups]);
  const affine = (x: Tensor, scale: Tensor, shift: Tensor) =>
    channelAffine(
      { x, scale: tf.reshape(scale, perChannel), shift: tf.reshape(shift, perChannel) },
      {},
    )[0]!;

  return tf.customGrad((...args: unknown[]) => {
    const [x, weight, bias, save] = args as [Tensor, Tensor, Tensor, tf.GradSaveFunc];
    const grouped = tf.reshape(x, [n, groups, -1]);
    const mean = tf.mean(grouped, 2, true); // (N, G, 1)
    // The mean of squares needs no centred copy of the image; activations are near zero mean.
    const size = grouped.shape[2]!;
    const squares = tf.div(tf.sum(tf.square(grouped), 2, true), size);
    const variance = tf.relu(tf.sub(squares, tf.square(mean)));
    const inverse = tf.rsqrt(tf.add(variance, eps)); // (N, G, 1)
    const scale = tf.mul(inverse, ofGroups(weight)); // (N, G, C/G)
    const shift = tf.sub(ofGroups(bias), tf.mul(mean, scale)); // (N, G, C/G)
    const u = affine(x, scale, shift);
    const y = activated ? silu(u) : u;
    save([x, weight, mean, inverse, scale, u, y]);
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) =>
        gradient(dy, saved as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]),
    };
  })(x, weight, bias);

  function gradient(
    dy: Tensor,
    [x, weight, mean, inverse, scale, u, y]: [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ],
  ): Tensor[] {
    const du = activated ? tf.mul(dy, siluSlope(u, y)) : dy;
    const sum = tf.reshape(tf.sum(du, [2, 3]), perGroup);
    const rows = [n * c, 1, h * w];
    const dot = tf.matMul(tf.reshape(du, rows), tf.reshape(x, rows), false, true);
    // Sum over the pixels of du * normal, with normal = (x - mean) * inverse.
    const sumNormal = tf.mul(tf.sub(tf.reshape(dot, perGroup), tf.mul(sum, mean)), inverse);
    // dx = scale du - inverse (m1 + normal m2), with m1 and m2 the group means of du w and du w normal.
    const count = (c / groups) * h * w;
    const m1 = tf.div(tf.sum(tf.mul(sum, ofGroups(weight)), 2, true), count);
    const m2 = tf.div(tf.sum(tf.mul(sumNormal, ofGroups(weight)), 2, true), count);
    const slope = tf.neg(tf.mul(tf.square(inverse), m2));
    const offset = tf.neg(tf.add(tf.mul(slope, mean), tf.mul(inverse, m1))); // (N, G, 1)
    const spread = (group: Tensor) => tf.broadcastTo(group, perGroup);
    return [
      tf.add(tf.mul(du, tf.reshape(scale, perChannel)), affine(x, spread(slope), spread(offset))),
      tf.reshape(tf.sum(sumNormal, 0), [c]),
      tf.reshape(tf.sum(sum, 0), [c]),
    ];
  }
}
