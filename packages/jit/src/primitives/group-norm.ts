import { check } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { silu, siluSlope } from "./activation.ts";
import { definePrimitive } from "./primitive.ts";

export interface GroupNormOptions {
  /** Number of groups that the channels are divided into. */
  readonly groups: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Whether `x * sigmoid(x)` follows, in the same pass. @default false */
  readonly silu?: boolean;
}

/**
 * Group normalisation as one scale and shift per image and channel: u = x * scale + shift.
 * Both are `(N, C, 1, 1)`; mean and inverse standard deviation are `(N, G, 1)`.
 */
function affine(x: Tensor, weight: Tensor, bias: Tensor, groups: number, epsilon: number) {
  const [n, c] = x.shape as [number, number];
  const grouped = tf.reshape(x, [n, groups, -1]);
  const mean = tf.mean(grouped, 2, true);
  // The mean of squares needs no copy of the centred image; float32 is enough for activations near zero mean.
  const variance = tf.sub(tf.mean(tf.square(grouped), 2, true), tf.square(mean));
  const inverse = tf.rsqrt(tf.add(tf.relu(variance), epsilon));
  const perChannel = [1, groups, c / groups];
  const scale = tf.mul(inverse, tf.reshape(weight, perChannel)); // (N, G, C/G)
  const shift = tf.sub(tf.reshape(bias, perChannel), tf.mul(mean, scale)); // (N, G, C/G)
  return {
    scale: tf.reshape(scale, [n, c, 1, 1]),
    shift: tf.reshape(shift, [n, c, 1, 1]),
    mean,
    inverse,
  };
}

const call = definePrimitive("GroupNorm", {
  inputs: ["x", "weight", "bias"],
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, weight, bias }, attributes) => {
    const { groups, epsilon, silu: activated } = attributes as { groups: number; epsilon: number; silu: boolean };
    const { scale, shift } = affine(x!, weight!, bias!, groups, epsilon);
    const u = tf.add(tf.mul(x!, scale), shift);
    return activated ? silu(u) : u;
  },
  gradient: {
    inputsToSave: ["x", "weight", "bias"],
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [x, weight, bias, y] = saved as [Tensor, Tensor, Tensor, Tensor];
      const { groups, epsilon, silu: activated } = attributes as unknown as {
        groups: number;
        epsilon: number;
        silu: boolean;
      };
      const [n, c, h, w] = x.shape as [number, number, number, number];
      const { scale, shift, mean, inverse } = affine(x, weight, bias, groups, epsilon);
      const u = tf.add(tf.mul(x, scale), shift);
      const du = activated ? tf.mul(dy as Tensor, siluSlope(u, y)) : (dy as Tensor);
      // Two reductions over the pixels give everything: sums of du and of du * x per image and channel.
      const sum = tf.reshape(tf.sum(du, [2, 3]), [n, groups, c / groups]);
      const dot = tf.matMul(tf.reshape(du, [n * c, 1, h * w]), tf.reshape(x, [n * c, 1, h * w]), false, true);
      const sumX = tf.reshape(dot, [n, groups, c / groups]);
      // du * normal summed, with normal = (x - mean) * inverse
      const sumNormal = tf.mul(tf.sub(sumX, tf.mul(sum, mean)), inverse);
      const gamma = tf.reshape(weight, [1, groups, c / groups]);
      return {
        // dx = scale du - inverse (m1 + normal m2), with m1, m2 the group means of du w and du w normal
        x: () => {
          const count = (c / groups) * h * w;
          const m1 = tf.div(tf.sum(tf.mul(sum, gamma), 2, true), count); // (N, G, 1)
          const m2 = tf.div(tf.sum(tf.mul(sumNormal, gamma), 2, true), count);
          const slope = tf.mul(tf.square(inverse), m2);
          const offset = tf.sub(tf.mul(slope, mean), tf.mul(inverse, m1));
          const spread = (g: Tensor) => tf.reshape(tf.broadcastTo(g, [n, groups, c / groups]), [n, c, 1, 1]);
          return tf.add(tf.sub(tf.mul(du, scale), tf.mul(x, spread(slope))), spread(offset));
        },
        weight: () => tf.reshape(tf.sum(sumNormal, 0), [c]),
        bias: () => tf.reshape(tf.sum(sum, 0), [c]),
      };
    },
  },
});

/**
 * Group normalisation of `(N, C, H, W)`, like torch.nn.functional.group_norm, optionally followed by SiLU.
 *
 * @param weight `(C)` @param bias `(C)`
 */
export function groupNorm(x: Tensor, weight: Tensor, bias: Tensor, options: GroupNormOptions): Tensor {
  const { groups, eps, silu: activated = false } = options;
  check(
    x.rank === 4 && x.shape[1]! % groups === 0,
    () => `groupNorm: expected (N, C, H, W) with C a multiple of ${groups}, got [${x.shape}]`,
  );
  return call({ x, weight, bias }, { groups, epsilon: eps, silu: activated })[0]!;
}
