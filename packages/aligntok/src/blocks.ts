/**
 * The blocks of the convolutional encoder and decoder, and names and shapes of their weights.
 *
 * N images, C and O channels, h x w the size of the map.
 */
import type { Parameters, Random } from "@aligntok/core";
import { attention } from "@aligntok/jit";
import { constant, conv2d, groupNorm, type TensorParameters, torchLinear } from "@aligntok/nn";
import { add, reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Collects names and shapes, in the order of the calls. */
export interface ShapeList {
  readonly shapes: Shapes;
  /** A weight without biases. */
  weight(name: string, shape: readonly number[]): void;
  /** A weight of that shape with as many biases as rows. */
  layer(name: string, weight: readonly number[]): void;
  conv(name: string, input: number, output: number, kernel: 1 | 3): void;
  residual(name: string, input: number, output: number): void;
  attend(name: string, width: number): void;
  /** What `middleBlocks` needs. */
  middle(name: string, width: number): void;
}

export function createShapeList(): ShapeList {
  const shapes: Record<string, readonly number[]> = {};
  const weight = (name: string, shape: readonly number[]) => {
    shapes[`${name}.weight`] = shape;
  };
  const layer = (name: string, shape: readonly number[]) => {
    weight(name, shape);
    shapes[`${name}.bias`] = [shape[0]!];
  };
  const conv = (name: string, input: number, output: number, kernel: 1 | 3) =>
    layer(name, [output, input, kernel, kernel]);
  const residual = (name: string, input: number, output: number) => {
    layer(`${name}.norm1`, [input]);
    conv(`${name}.conv1`, input, output, 3);
    layer(`${name}.norm2`, [output]);
    conv(`${name}.conv2`, output, output, 3);
    if (input !== output) conv(`${name}.nin_shortcut`, input, output, 1);
  };
  const attend = (name: string, width: number) => {
    layer(`${name}.norm`, [width]);
    for (const part of ["q", "k", "v", "proj_out"]) conv(`${name}.${part}`, width, width, 1);
  };
  const middle = (name: string, width: number) => {
    residual(`${name}.block_1`, width, width);
    attend(`${name}.attn_1`, width);
    residual(`${name}.block_2`, width, width);
  };
  return { shapes, weight, layer, conv, residual, attend, middle };
}

/** Weights as PyTorch's Conv2d and GroupNorm start. */
export function initConvolutional(
  shapes: Shapes,
  random: Random,
): Record<string, Parameters[string]> {
  const params: Record<string, Parameters[string]> = {};
  for (const [key, shape] of Object.entries(shapes)) {
    const [, name] = /^(.*)\.weight$/.exec(key) ?? [];
    if (!name) continue;
    const bias = `${name}.bias` in shapes;
    if (shape.length === 4) Object.assign(params, torchLinear(random, name, shape, { bias }));
    else {
      params[`${name}.weight`] = constant(shape, 1);
      params[`${name}.bias`] = constant(shape, 0);
    }
  }
  return params;
}

/** `(N, C, h, w)` to `(N, O, h, w)`. */
export function residualBlock(
  params: TensorParameters,
  name: string,
  x: Tensor,
  groups: number,
): Tensor {
  let h = groupNorm(params, `${name}.norm1`, x, { groups, silu: true });
  h = conv2d(params, `${name}.conv1`, h, { padding: 1 });
  h = groupNorm(params, `${name}.norm2`, h, { groups, silu: true });
  h = conv2d(params, `${name}.conv2`, h, { padding: 1 });
  const widens = `${name}.nin_shortcut.weight` in params;
  return add(widens ? conv2d(params, `${name}.nin_shortcut`, x) : x, h);
}

/** Attention of every position to every other, with one head as wide as the map. */
export function attentionBlock(
  params: TensorParameters,
  name: string,
  x: Tensor,
  groups: number,
): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const normed = groupNorm(params, `${name}.norm`, x, { groups });
  const [q, k, v] = ["q", "k", "v"].map((part) => {
    const projected = reshape(conv2d(params, `${name}.${part}`, normed), [n, 1, c, h * w]);
    return transpose(projected, [0, 1, 3, 2]); // (N, 1, h*w, C)
  }) as [Tensor, Tensor, Tensor];
  const mixed = transpose(attention(q, k, v), [0, 1, 3, 2]); // (N, 1, C, h*w)
  return add(x, conv2d(params, `${name}.proj_out`, reshape(mixed, [n, c, h, w])));
}

/** Residual, attention, residual: what encoder and decoder have at the lowest resolution. */
export function middleBlocks(
  params: TensorParameters,
  name: string,
  x: Tensor,
  groups: number,
): Tensor {
  const first = residualBlock(params, `${name}.block_1`, x, groups);
  const mixed = attentionBlock(params, `${name}.attn_1`, first, groups);
  return residualBlock(params, `${name}.block_2`, mixed, groups);
}
