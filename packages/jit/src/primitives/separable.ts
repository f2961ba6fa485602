/** Linear maps of images that treat rows and columns by themselves, as two matrix products. */
import type { Tensor } from "@tensorflow/tfjs-core";
import { matMul, reshape, tensor } from "@tensorflow/tfjs-core";

/** A constant matrix from a rule for its elements. */
export function matrix(
  [rows, columns]: readonly [number, number],
  at: (row: number, column: number) => number,
): Tensor {
  const values = Array.from({ length: rows * columns }, (_, i) =>
    at(Math.floor(i / columns), i % columns),
  );
  return tensor(values, [rows, columns], "float32");
}

/**
 * `down x across^T` for each channel.
 *
 * @param x `(N, C, H, W)` @param down `(H', H)` @param across `(W', W)`
 * @returns `(N, C, H', W')`
 */
export function mapAxes(x: Tensor, down: Tensor, across: Tensor): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [tall, wide] = [down.shape[0]!, across.shape[0]!];
  const rows = matMul(reshape(x, [n * c * h, w]), across, false, true);
  const images = reshape(rows, [n * c, h, wide]);
  return reshape(matMul(reshape(down, [1, tall, h]), images), [n, c, tall, wide]);
}
