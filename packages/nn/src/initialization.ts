/**
 * Initial weights, drawn on the host from a seeded stream. Shapes are PyTorch's: linear (out, in),
 * convolution (out, in, kh, kw). Same distributions as PyTorch, not the same numbers.
 */
import { type NdArray, type Parameters, type Random, sizeOf, zeros } from "@aligntok/core";

/** Uniform in +-sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio, 2010). */
export function xavierUniform(random: Random, shape: readonly number[]): NdArray<"float32"> {
  const [out = 1, input = 1, ...kernel] = shape;
  return uniform(random, shape, Math.sqrt(6 / ((out + input) * sizeOf(kernel))));
}

export interface TorchLinearOptions {
  /** @default true */
  readonly bias?: boolean;
}

/**
 * `name.weight` and `name.bias` of a linear layer or convolution as `torch.nn.Linear` and `Conv2d`
 * start: both uniform in +-1 / sqrt(fanIn), which is what Kaiming uniform with a = sqrt(5) comes to.
 */
export function torchLinear(
  random: Random,
  name: string,
  shape: readonly number[],
  { bias = true }: TorchLinearOptions = {},
): Parameters {
  const bound = 1 / Math.sqrt(sizeOf(shape.slice(1)));
  const weight = uniform(random, shape, bound);
  if (!bias) return { [`${name}.weight`]: weight };
  return { [`${name}.weight`]: weight, [`${name}.bias`]: uniform(random, [shape[0]!], bound) };
}

/** Normal with standard deviation `std`, redrawn outside of two standard deviations. */
export function truncatedNormal(
  random: Random,
  shape: readonly number[],
  std: number,
): NdArray<"float32"> {
  return fill(shape, () => {
    let value = random.normal();
    while (Math.abs(value) > 2) value = random.normal();
    return value * std;
  });
}

/** Normal with mean 0 and standard deviation `std`. */
export function normal(random: Random, shape: readonly number[], std: number): NdArray<"float32"> {
  return fill(shape, () => random.normal() * std);
}

export function constant(shape: readonly number[], value: number): NdArray<"float32"> {
  return fill(shape, () => value);
}

function uniform(random: Random, shape: readonly number[], bound: number): NdArray<"float32"> {
  return fill(shape, () => (2 * random.uniform() - 1) * bound);
}

function fill(shape: readonly number[], next: () => number): NdArray<"float32"> {
  const array = zeros(shape);
  for (let i = 0; i < array.data.length; i++) array.data[i] = next();
  return array;
}
