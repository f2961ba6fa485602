import { gelu, silu, swiglu } from "@aligntok/jit";
import { mul, type Tensor } from "@tensorflow/tfjs-core";
import { linear } from "./linear.ts";
import type { TensorParameters } from "./parameters.ts";

export interface MlpOptions {
  /**
   * `none` is the exact GELU (erf), `tanh` the approximation of GPT-2, DiT and SigLIP, `quick` CLIP's
   * `x * sigmoid(1.702 x)`. @default "none"
   */
  readonly gelu?: "none" | "tanh" | "quick";
}

/** `fc2(gelu(fc1(x)))`; reads `name.fc1.*` and `name.fc2.*`. */
export function mlp(
  params: TensorParameters,
  name: string,
  x: Tensor,
  { gelu: approximation = "none" }: MlpOptions = {},
): Tensor {
  const hidden = linear(params, `${name}.fc1`, x);
  const active = approximation === "quick" ? quickGelu(hidden) : gelu(hidden, approximation);
  return linear(params, `${name}.fc2`, active);
}

function quickGelu(x: Tensor): Tensor {
  return mul(silu(mul(x, 1.702)), 1 / 1.702);
}

/** `w3(silu(a) * b)` with `a, b` the halves of `w12(x)` (Shazeer, 2020); reads `name.w12.*` and `name.w3.*`. */
export function swiGlu(params: TensorParameters, name: string, x: Tensor): Tensor {
  return linear(params, `${name}.w3`, swiglu(linear(params, `${name}.w12`, x)));
}
