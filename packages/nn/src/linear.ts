import { linear as linearKernel } from "@aligntok/jit";
import type { Tensor } from "@tensorflow/tfjs-core";
import { type TensorParameters, weightOf } from "./parameters.ts";

/** `y = x W^T + b` over the last axis: `(..., in)` to `(..., out)`; reads `name.weight` (out x in) and, where present, `name.bias`. */
export function linear(params: TensorParameters, name: string, x: Tensor): Tensor {
  return linearKernel(x, weightOf(params, `${name}.weight`), params[`${name}.bias`]);
}
