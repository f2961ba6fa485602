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
  gradient: {
    inputsToSave: ["x", "scale"],
    gradFunc: (dy, saved) => {
      const [x, scale] = saved as [Tensor, Tensor];
      const d = dy as Tensor;
      return {
        x: () => tf.mul(d, scale),
        scale: () => tf.sum(tf.mul(d, x), [2, 3], true),
        shift: () => tf.sum(d, [2, 3], true),
      };
    },
  },
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
  const size = (c / groups) * h * w;
  const ofGroups = (channels: Tensor) => tf.reshape(channels, [1, groups, c / groups]);
  const affine = (x: Tensor, scale: Tensor, shift: Tensor) =>
    channelAffine(
      { x, scale: tf.reshape(scale, perChannel), shift: tf.reshape(shift, perChannel) },
      {},
    )[0]!;

  return tf.customGrad((...args: unknown[]) => {
    const [x, weight, bias, save] = args as [Tensor, Tensor, Tensor, tf.GradSaveFunc];
    save([x, weight, bias]);
    return {
      value: forward(x, weight, bias).y,
      gradFunc: (dy: Tensor, saved: Tensor[]) => gradient(dy, saved as [Tensor, Tensor, Tensor]),
    };
  })(x, weight, bias);

  function forward(x: Tensor, weight: Tensor, bias: Tensor) {
    const grouped = tf.reshape(x, [n, groups, size]);
    // Centred before it is squared: the mean of squares less the square of the mean loses all digits of a group
    // whose mean is large beside its spread.
    const middle = tf.sub(grouped, tf.mean(grouped, 2, true)); // (N, G, size)
    const variance = tf.div(tf.sum(tf.square(middle), 2, true), size);
    const inverse = tf.rsqrt(tf.add(variance, eps)); // (N, G, 1)
    const scale = tf.mul(inverse, ofGroups(weight)); // (N, G, C/G)
    const centred = tf.reshape(middle, x.shape);
    const u = affine(centred, scale, tf.broadcastTo(ofGroups(bias), perGroup));
    return { centred, inverse, scale, u, y: activated ? silu(u) : u };
  }

  function gradient(dy: Tensor, [x, weight, bias]: [Tensor, Tensor, Tensor]): Tensor[] {
    // The same expressions again, which a compiled graph computes once: so they can be differentiated, too.
    const { centred, inverse, scale, u, y } = forward(x, weight, bias);
    const du = activated ? tf.mul(dy, siluSlope(u, y)) : dy;
    const sum = tf.reshape(tf.sum(du, [2, 3]), perGroup);
    const rows = [n * c, 1, h * w];
    const dot = tf.matMul(tf.reshape(du, rows), tf.reshape(centred, rows), false, true);
    // Sum over the pixels of du * normal, with normal = centred * inverse.
    const sumNormal = tf.mul(tf.reshape(dot, perGroup), inverse);
    // dx = scale du - inverse (m1 + normal m2), with m1 and m2 the group means of du w and du w normal.
    const m1 = tf.div(tf.sum(tf.mul(sum, ofGroups(weight)), 2, true), size);
    const m2 = tf.div(tf.sum(tf.mul(sumNormal, ofGroups(weight)), 2, true), size);
    const slope = tf.neg(tf.mul(tf.square(inverse), m2));
    const offset = tf.neg(tf.mul(inverse, m1)); // (N, G, 1)
    const spread = (group: Tensor) => tf.broadcastTo(group, perGroup);
    const rest = affine(centred, spread(slope), spread(offset));
    return [
      tf.add(tf.mul(du, tf.reshape(scale, perChannel)), rest),
      tf.reshape(tf.sum(sumNormal, 0), [c]),
      tf.reshape(tf.sum(sum, 0), [c]),
    ];
  }
}
