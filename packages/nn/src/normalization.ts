import {
  groupNorm as groupNormKernel,
  layerNorm as layerNormKernel,
  rmsNorm as rmsNormKernel,
} from "@aligntok/jit";
import { mul, type Tensor } from "@tensorflow/tfjs-core";
import { type TensorParameters, weightOf } from "./parameters.ts";

/** LayerNorm over the last axis (Ba et al., 2016); reads `name.weight` and, where present, `name.bias`. */
export function layerNorm(params: TensorParameters, name: string, x: Tensor, eps = 1e-6): Tensor {
  return layerNormKernel(x, weightOf(params, `${name}.weight`), params[`${name}.bias`], eps);
}

/** `x / sqrt(mean(x^2) + eps) * weight` over the last axis (Zhang and Sennrich, 2019); reads `name.weight`. */
export function rmsNorm(params: TensorParameters, name: string, x: Tensor, eps = 1e-6): Tensor {
  return rmsNormKernel(x, weightOf(params, `${name}.weight`), eps);
}

export interface GroupNormOptions {
  /** Number of groups that the channels are split into. @default 32 */
  readonly groups?: number;
  /** @default 1e-6 */
  readonly eps?: number;
  /** Applies `y * sigmoid(y)` afterwards, in the same kernel. @default false */
  readonly silu?: boolean;
}

/** GroupNorm of `(N, C, H, W)` (Wu and He, 2018); reads `name.weight` and `name.bias`. */
export function groupNorm(
  params: TensorParameters,
  name: string,
  x: Tensor,
  { groups = 32, eps = 1e-6, silu = false }: GroupNormOptions = {},
): Tensor {
  const weight = weightOf(params, `${name}.weight`);
  return groupNormKernel(x, weight, weightOf(params, `${name}.bias`), { groups, eps, silu });
}

/** Multiplies each channel of a residual branch by `name.gamma`; without that parameter the branch is returned as it is. */
export function layerScale(params: TensorParameters, name: string, x: Tensor): Tensor {
  const gamma = params[`${name}.gamma`];
  return gamma ? mul(x, gamma) : x;
}
