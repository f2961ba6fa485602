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

export interface CenteredRotaryOptions {
  /** Longest period over the shortest, which is the side of the image. @default 100 */
  readonly theta?: number;
  /** Tokens before the patches, which do not turn. @default 0 */
  readonly prefix?: number;
}

/**
 * DINOv3's tables, `(prefix + rows * columns, headWidth / 2)`: centres of patches in [-1, 1] along each axis, whatever
 * the grid; the first half of the planes turns with the row, the second with the column. For `halves`.
 */
export function centeredRotaryTables(
  grid: readonly [number, number],
  headWidth: number,
  { theta = 100, prefix = 0 }: CenteredRotaryOptions = {},
): RotaryTables {
  check(headWidth % 4 === 0, () => `rotary head width: expected a multiple of 4, got ${headWidth}`);
  const [rows, columns] = grid;
  const planes = headWidth / 2;
  const quarter = headWidth / 4;
  const cos = zeros([prefix + rows * columns, planes]);
  const sin = zeros([prefix + rows * columns, planes]);
  cos.data.fill(1, 0, prefix * planes);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const offset = (prefix + row * columns + column) * planes;
      for (let c = 0; c < planes; c++) {
        const center = c < quarter ? (row + 0.5) / rows : (column + 0.5) / columns;
        const angle = (2 * Math.PI * (2 * center - 1)) / theta ** ((c % quarter) / quarter);
        cos.data[offset + c] = Math.cos(angle);
        sin.data[offset + c] = Math.sin(angle);
      }
    }
  }
  return { cos, sin };
}

/** Tables inside a graph. */
export interface RotaryTensors {
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** Whether a plane is a channel of the first half and one of the second (`centeredRotaryTables`), not neighbours. @default false */
  readonly halves?: boolean;
}

/** Turns queries or keys `(N, H, T, d)` by their positions: tables of `(T, d)`, or `(T, d / 2)` with `halves`. */
export function applyRotary(x: Tensor, { cos, sin, halves = false }: RotaryTensors): Tensor {
  if (halves) return rope(x, cos, sin);
  return rope(x, onePerPlane(cos), onePerPlane(sin), { interleaved: true });
}

/** The tables, like upstream's, have each number twice, once a channel of the plane: `(T, d)` to `(T, d / 2)`. */
function onePerPlane(table: Tensor): Tensor {
  const [rows, width] = table.shape as [number, number];
  const planes = reshape(table, [rows, width / 2, 2]);
  return reshape(slice(planes, [0, 0, 0], [rows, width / 2, 1]), [rows, width / 2]);
}
