import { attention } from "@aligntok/jit";
import { linear, type TensorParameters } from "@aligntok/nn";
import { reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";

/** Names of the four linear layers, below that of the attention. */
export interface AttentionNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
}

export interface TextAttentionOptions {
  readonly names: AttentionNames;
  readonly heads: number;
  /** Added to the scaled products, broadcast to (N, H, T, T). */
  readonly bias: Tensor;
  /** @default false */
  readonly causal?: boolean;
  /** @default 1 / sqrt of a head's width */
  readonly scale?: number;
}

/**
 * Self-attention of `(N, T, D)` with projections that stay four matrices, as checkpoints of text encoders hold them,
 * so that an engine can map the largest of them from their file.
 */
export function textAttention(
  params: TensorParameters,
  name: string,
  x: Tensor,
  { names, heads, ...options }: TextAttentionOptions,
): Tensor {
  const [n, t] = x.shape as [number, number, number];
  const [q, k, v] = [names.query, names.key, names.value].map((part) => {
    const projected = linear(params, `${name}.${part}`, x);
    return transpose(reshape(projected, [n, t, heads, -1]), [0, 2, 1, 3]); // (N, H, T, d)
  }) as [Tensor, Tensor, Tensor];
  const mixed = transpose(attention(q, k, v, options), [0, 2, 1, 3]); // (N, T, H, d)
  return linear(params, `${name}.${names.output}`, reshape(mixed, [n, t, -1]));
}
