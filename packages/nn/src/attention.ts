import { check } from "@aligntok/core";
import { attention } from "@aligntok/jit";
import { reshape, split, type Tensor, transpose } from "@tensorflow/tfjs-core";
import { linear } from "./linear.ts";
import { rmsNorm } from "./normalization.ts";
import type { TensorParameters } from "./parameters.ts";
import { applyRotary, type RotaryTensors } from "./rotary.ts";

export interface SelfAttentionOptions {
  readonly heads: number;
  /** RMS-normalises queries and keys per head, with `name.q_norm.weight` and `name.k_norm.weight`. @default false */
  readonly qkNorm?: boolean;
  /** Turns queries and keys, after their normalisation. @default no rotation */
  readonly rotary?: RotaryTensors;
}

/**
 * Multi-head self-attention of `(N, T, D)` with fused projections, as timm lays it out: reads
 * `name.qkv.*` (rows: queries, keys, values, each head by head) and `name.proj.*`.
 */
export function selfAttention(
  params: TensorParameters,
  name: string,
  x: Tensor,
  { heads, qkNorm = false, rotary }: SelfAttentionOptions,
): Tensor {
  const [n, t, width] = x.shape as [number, number, number];
  check(
    width % heads === 0,
    () => `attention heads: expected a divisor of the width ${width}, got ${heads}`,
  );
  const headWidth = width / heads;
  // split while rows are whole, which copies less than after the transposes: each (N,T,D), then (N,H,T,d)
  let [q, k, v] = split(linear(params, `${name}.qkv`, x), 3, -1).map((part) =>
    transpose(reshape(part, [n, t, heads, headWidth]), [0, 2, 1, 3]),
  ) as [Tensor, Tensor, Tensor];
  if (qkNorm) {
    q = rmsNorm(params, `${name}.q_norm`, q);
    k = rmsNorm(params, `${name}.k_norm`, k);
  }
  if (rotary) {
    q = applyRotary(q, rotary);
    k = applyRotary(k, rotary);
  }
  const mixed = transpose(attention(q, k, v), [0, 2, 1, 3]); // (N,T,H,d)
  return linear(params, `${name}.proj`, reshape(mixed, [n, t, width]));
}
