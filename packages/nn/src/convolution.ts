import { check } from "@aligntok/core";
import {
  conv2d as conv2dKernel,
  linear as linearKernel,
  upsampleConv2d as upsampleConv2dKernel,
} from "@aligntok/jit";
import { reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";
import { type TensorParameters, weightOf } from "./parameters.ts";

export interface Conv2dOptions {
  /** @default 1 */
  readonly stride?: number;
  /** Rows and columns of zeros on every side, or `[top, left, bottom, right]`. @default 0 */
  readonly padding?: number | readonly [number, number, number, number];
  /** @default 1 */
  readonly dilation?: number;
}

/** Convolution of `(N, C, H, W)`; reads `name.weight` (O, I, kh, kw) and, where present, `name.bias`. */
export function conv2d(
  params: TensorParameters,
  name: string,
  x: Tensor,
  { stride = 1, padding = 0, dilation = 1 }: Conv2dOptions = {},
): Tensor {
  const bias = params[`${name}.bias`];
  const weight = weightOf(params, `${name}.weight`);
  return conv2dKernel(x, weight, { ...(bias && { bias }), stride, padding, dilation });
}

/**
 * Nearest upsampling by 2 and a 3x3 convolution with padding 1: `(N, C, H, W)` to `(N, O, 2H, 2W)`.
 * Reads `name.weight` (O, C, 3, 3) and, where present, `name.bias`.
 */
export function upsampleConv2d(params: TensorParameters, name: string, x: Tensor): Tensor {
  return upsampleConv2dKernel(x, weightOf(params, `${name}.weight`), params[`${name}.bias`]);
}

/**
 * Cuts `(N, C, H, W)` into squares of side `patch` and projects each: `(N, H/p * W/p, D)`, row by row.
 * The same numbers as a convolution with stride `patch`, as one matrix product.
 * Reads `name.weight` (D, C, p, p) and, where present, `name.bias`.
 *
 * @throws AlignTokError `bad-input` when height or width is not a multiple of `patch`.
 */
export function patchEmbed(
  params: TensorParameters,
  name: string,
  x: Tensor,
  patch: number,
): Tensor {
  const [n, c, height, width] = x.shape as [number, number, number, number];
  check(
    height % patch === 0 && width % patch === 0,
    () =>
      `image size: expected multiples of ${patch}, got ${height}x${width}. resize or crop first`,
  );
  const [rows, columns] = [height / patch, width / patch];
  const weight = weightOf(params, `${name}.weight`);
  const flatWeight = reshape(weight, [weight.shape[0]!, c * patch * patch]); // (D, C*p*p)
  const squares = reshape(x, [n, c, rows, patch, columns, patch]);
  const patches = reshape(transpose(squares, [0, 2, 4, 1, 3, 5]), [
    n,
    rows * columns,
    c * patch * patch,
  ]); // (N, T, C*p*p)
  return linearKernel(patches, flatWeight, params[`${name}.bias`]); // (N, T, D)
}
