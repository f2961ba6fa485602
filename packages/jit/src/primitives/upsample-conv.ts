import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "./conv.ts";
import { pixelShuffle } from "./pixel-shuffle.ts";

/**
 * Which of the three taps of a kernel fall on each of the two source pixels, in one dimension: [p, k, tap].
 * An output pixel of the upsampled image and its neighbours lie on two source pixels: an even one (p = 1, see below) has its left neighbour on the first and the rest on the second, an odd one (p = 0) the reverse.
 */
const taps = [
  [
    [1, 1, 0],
    [0, 0, 1],
  ],
  [
    [1, 0, 0],
    [0, 1, 1],
  ],
] as const;

/** `taps` in both dimensions as a matrix (3 3, 2 2 2 2): from taps (t, u) to phases and source pixels (p, q, k, l). */
const phasesOfTaps = [0, 1, 2].flatMap((t) =>
  [0, 1, 2].map((u) =>
    [0, 1].flatMap((p) =>
      [0, 1].flatMap((q) =>
        [0, 1].flatMap((k) => [0, 1].map((l) => taps[p]![k]![t]! * taps[q]![l]![u]!)),
      ),
    ),
  ),
);

/**
 * Nearest upsampling by 2, then a 3x3 convolution with padding 1, computed at the lower resolution:
 * nine taps fall on four source pixels, so each of the four phases of the output is a 2x2 convolution with
 * sums of the weights. 4/9 of the multiplications, and the larger image is never made. The same numbers as
 * `conv2d(upsampleNearest2x(x), weight, { bias, padding: 1 })` up to rounding.
 *
 * @param x `(N, I, H, W)` @param weight `(O, I, 3, 3)` @param bias `(O)`, none by default
 * @returns `(N, O, 2H, 2W)`
 */
export function upsampleConv2d(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  check(
    x.rank === 4 && weight.rank === 4 && weight.shape.slice(1).join() === `${x.shape[1]},3,3`,
    () =>
      `upsampleConv2d: expected (N, I, H, W) and (O, I, 3, 3), got [${x.shape}] and [${weight.shape}]`,
  );
  check(
    !bias || bias.shape.join() === String(weight.shape[0]),
    () => `upsampleConv2d: expected bias [${weight.shape[0]}], got [${bias?.shape}]`,
  );
  const [o, i] = weight.shape as [number, number];
  const sums = tf.matMul(tf.reshape(weight, [o * i, 9]), tf.tensor2d(phasesOfTaps, [9, 16]));
  const kernels = tf.transpose(tf.reshape(sums, [o, i, 4, 4]), [0, 2, 1, 3]); // (O, 4, I, 4)
  const phases = conv2d(x, tf.reshape(kernels, [4 * o, i, 2, 2]), {
    padding: 1,
    bias: bias && tf.reshape(tf.broadcastTo(tf.reshape(bias, [o, 1]), [o, 4]), [4 * o]),
  });
  // Phases (p, q) at rows 2y + p and columns 2x + q, less a frame of one pixel: an even pixel is of phase 1.
  const [n, , h, w] = x.shape as [number, number, number, number];
  const framed = pixelShuffle(phases, 2); // (N, 4 O, H + 1, W + 1) to (N, O, 2H + 2, 2W + 2)
  return tf.slice(framed, [0, 0, 1, 1], [n, o, 2 * h, 2 * w]);
}
