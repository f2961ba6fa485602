import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

/**
 * Channels to space in PyTorch's order: `(N, C r r, H, W)` to `(N, C, H r, W r)` (Shi et al., 2016). As two
 * transpositions that each move whole runs of memory, several times as fast as the one of six axes.
 */
export function pixelShuffle(x: Tensor, factor: number): Tensor {
  checkFactor("pixelShuffle", x, factor);
  const [n, channels, h, w] = x.shape as [number, number, number, number];
  const c = channels / factor ** 2;
  check(
    Number.isInteger(c),
    () => `pixelShuffle: expected a multiple of ${factor ** 2} channels, got ${channels}`,
  );
  const columns = tf.transpose(tf.reshape(x, [n * c * factor, factor, h * w]), [0, 2, 1]);
  const rows = tf.transpose(tf.reshape(columns, [n * c, factor, h, w * factor]), [0, 2, 1, 3]);
  return tf.reshape(rows, [n, c, h * factor, w * factor]);
}

/** Space to channels, the reverse of `pixelShuffle`: `(N, C, H r, W r)` to `(N, C r r, H, W)`. */
export function pixelUnshuffle(x: Tensor, factor: number): Tensor {
  checkFactor("pixelUnshuffle", x, factor);
  const [n, c, height, width] = x.shape as [number, number, number, number];
  const [h, w] = [height / factor, width / factor];
  check(
    Number.isInteger(h) && Number.isInteger(w),
    () => `pixelUnshuffle: expected sides that are multiples of ${factor}, got ${height}x${width}`,
  );
  const rows = tf.transpose(tf.reshape(x, [n * c, h, factor, width]), [0, 2, 1, 3]);
  const columns = tf.transpose(tf.reshape(rows, [n * c * factor, h * w, factor]), [0, 2, 1]);
  return tf.reshape(columns, [n, c * factor ** 2, h, w]);
}

function checkFactor(name: string, x: Tensor, factor: number): void {
  check(x.rank === 4, () => `${name}: expected (N, C, H, W), got [${x.shape}]`);
  check(
    Number.isInteger(factor) && factor > 0,
    () => `${name}: expected a positive whole factor, got ${factor}`,
  );
}
