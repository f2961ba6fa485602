/**
 * Rotary position embedding (Su et al., 2021) on a grid of patches, in the layout of EVA-02 and
 * LightningDiT: half of a head's channels turns with the row, half with the column, and the two
 * coordinates of a rotated plane are neighbouring channels.
 */
import { check, type NdArray, zeros } from "@aligntok/core";
import { rope } from "@aligntok/jit";
import { reshape, slice, type Tensor } from "@tensorflow/tfjs-core";

export interface RotaryTables {
  /** `(rows * columns, headWidth)`. */
  readonly cos: NdArray<"float32">;
  readonly sin: NdArray<"float32">;
}

export interface RotaryOptions {
  /** Base of the geometric series of frequencies. @default 10000 */
  readonly theta?: number;
}

/** Cosines and sines for a grid, given as `[rows, columns]`; `headWidth` is a multiple of 4. */
export function rotaryTables(
  grid: readonly [number, number],
  headWidth: number,
  { theta = 10000 }: RotaryOptions = {},
): RotaryTables {
  check(headWidth % 4 === 0, () => `rotary head width: expected a multiple of 4, got ${headWidth}`);
  const [rows, columns] = grid;
  const axisWidth = headWidth / 2;
  const cos = zeros([rows * columns, headWidth]);
  const sin = zeros([rows * columns, headWidth]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const offset = (row * columns + column) * headWidth;
      for (let c = 0; c < headWidth; c++) {
        const position = c < axisWidth ? row : column;
        const plane = (c % axisWidth) >> 1;
        const angle = position * theta ** ((-2 * plane) / axisWidth);
        cos.data[offset + c] = Math.cos(angle);
        sin.data[offset + c] = Math.sin(angle);
      }
    }
  }
  return { cos, sin };
}

/** The tables of `rotaryTables` inside a graph. */
export interface RotaryTensors {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Turns queries or keys `(N, H, T, d)` by their positions, with the tables of `rotaryTables`, `(T, d)`. */
export function applyRotary(x: Tensor, { cos, sin }: RotaryTensors): Tensor {
  return rope(x, onePerPlane(cos), onePerPlane(sin), { interleaved: true });
}

/** The tables, like upstream's, have each number twice, once a channel of the plane: `(T, d)` to `(T, d / 2)`. */
function onePerPlane(table: Tensor): Tensor {
  const [rows, width] = table.shape as [number, number];
  const planes = reshape(table, [rows, width / 2, 2]);
  return reshape(slice(planes, [0, 0, 0], [rows, width / 2, 1]), [rows, width / 2]);
}
