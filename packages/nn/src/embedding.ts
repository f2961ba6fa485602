import { check, type NdArray, zeros } from "@aligntok/core";
import { concat, cos, mul, reshape, sin, type Tensor, tensor } from "@tensorflow/tfjs-core";

export interface TimestepEmbeddingOptions {
  /** Number of channels, even. @default 256 */
  readonly width?: number;
  /** Longest period of the sinusoids, in units of t over 2 pi. @default 10000 */
  readonly maxPeriod?: number;
}

/** Sinusoids of times `(N)`: `(N, width)`, first the cosines, then the sines, as in DiT and LightningDiT; t is used as it is. */
export function timestepEmbedding(
  t: Tensor,
  { width = 256, maxPeriod = 10000 }: TimestepEmbeddingOptions = {},
): Tensor {
  check(width % 2 === 0, () => `timestep embedding: expected an even width, got ${width}`);
  const half = width / 2;
  const frequencies = Float32Array.from({ length: half }, (_, i) => maxPeriod ** (-i / half));
  const angles = mul(reshape(t, [-1, 1]), tensor(frequencies, [1, half], "float32")); // (N, half)
  return concat([cos(angles), sin(angles)], -1);
}

/**
 * The fixed two-dimensional sinusoids of MAE and DiT: `(rows * columns, width)` for a grid given as
 * `[rows, columns]`. The first half of the channels encodes the column, the second the row, each as
 * sines, then cosines.
 */
export function sincosPositions(
  grid: readonly [number, number],
  width: number,
): NdArray<"float32"> {
  check(width % 4 === 0, () => `sincos positions: expected a multiple of 4 channels, got ${width}`);
  const [rows, columns] = grid;
  const quarter = width / 4;
  const table = zeros([rows * columns, width]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const offset = (row * columns + column) * width;
      for (let i = 0; i < quarter; i++) {
        const omega = 10000 ** (-i / quarter);
        table.data[offset + i] = Math.sin(column * omega);
        table.data[offset + quarter + i] = Math.cos(column * omega);
        table.data[offset + 2 * quarter + i] = Math.sin(row * omega);
        table.data[offset + 3 * quarter + i] = Math.cos(row * omega);
      }
    }
  }
  return table;
}
