import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { unbroadcast } from "../gradients/elementwise.ts";
import { definePrimitive } from "./primitive.ts";

// The probabilities are a second output because the gradient needs them.
const call = definePrimitive("Attention", {
  inputs: ["q", "k", "v", "bias?"],
  infer: ([q, k, v]) => [
    { shape: [...q!.shape.slice(0, -1), v!.shape.at(-1)!], dtype: "float32" },
    { shape: [...q!.shape.slice(0, -1), k!.shape.at(-2)!], dtype: "float32" },
  ],
  reference: ({ q, k, v, bias }, { scale }) => {
    const scores = tf.mul(tf.matMul(q!, k!, false, true), scale as number);
    const probabilities = tf.softmax(bias ? tf.add(scores, bias) : scores);
    return [tf.matMul(probabilities, v!), probabilities];
  },
  gradient: {
    inputsToSave: ["q", "k", "v"],
    outputsToSave: [true, true],
    gradFunc: (dys, saved, { scale, biasShape }) => {
      const [q, k, v, y, probabilities] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      const dy = (dys as Tensor[])[0]!;
      // Softmax's gradient takes away the row sums of dP * P, which are those of dy * y, over fewer columns.
      const sums = tf.sum(tf.mul(dy, y), -1, true); // (B, H, T, 1)
      const scores = tf.mul(tf.sub(tf.matMul(dy, v, false, true), sums), probabilities); // (B, H, T, S)
      return {
        q: () => tf.mul(tf.matMul(scores, k), scale as number),
        k: () => tf.mul(tf.matMul(scores, q, true, false), scale as number),
        v: () => tf.matMul(probabilities, dy, true, false),
        bias: () => unbroadcast(scores, biasShape as number[]),
      };
    },
  },
});

export interface AttentionOptions {
  /** What the products of queries and keys are multiplied by. @default 1 / sqrt(d) */
  readonly scale?: number;
  /** Whether query i sees keys 0 ... i only. @default false */
  readonly causal?: boolean;
  /**
   * Added to the scaled products: anything that broadcasts to (B, H, T, S). -Infinity hides a key; every query must
   * keep at least one. @default none
   */
  readonly bias?: Tensor;
}

/**
 * Scaled dot-product attention, `softmax(q k^T scale + bias) v`, for each batch and head, like
 * torch.nn.functional.scaled_dot_product_attention without dropout.
 *
 * @param q `(B, H, T, d)` @param k `(B, H, S, d)` @param v `(B, H, S, e)`
 * @returns `(B, H, T, e)`
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { scale, causal = false, bias }: AttentionOptions = {},
): Tensor {
  check(
    [q, k, v].every(({ rank }) => rank === 4) &&
      [k, v].every(({ shape: [b, h] }) => b === q.shape[0] && h === q.shape[1]) &&
      q.shape[3] === k.shape[3] &&
      k.shape[2] === v.shape[2],
    () =>
      `attention: expected (B, H, T, d), (B, H, S, d) and (B, H, S, e), got [${q.shape}], [${k.shape}] and [${v.shape}]`,
  );
  const [b, h, t, d] = q.shape as [number, number, number, number];
  const scores = [b, h, t, k.shape[2]!];
  check(
    !bias || broadcastsTo(bias.shape, scores),
    () => `attention bias: expected what broadcasts to [${scores}], got [${bias?.shape}]`,
  );
  const hidden = causal ? causalBias(t, k.shape[2]!) : undefined;
  const added = bias && hidden ? tf.add(bias, hidden) : (bias ?? hidden);
  return call(
    { q, k, v, bias: added },
    { scale: scale ?? d ** -0.5, ...(added && { biasShape: added.shape }) },
  )[0]!;
}

function broadcastsTo(shape: readonly number[], target: readonly number[]): boolean {
  const offset = target.length - shape.length;
  return offset >= 0 && shape.every((n, i) => n === 1 || n === target[offset + i]);
}

/** `(T, S)`: 0 where query i may see key j <= i, otherwise -Infinity. */
function causalBias(t: number, s: number): Tensor {
  const bias = Float32Array.from({ length: t * s }, (_, i) =>
    i % s <= Math.floor(i / s) ? 0 : Number.NEGATIVE_INFINITY,
  );
  return tf.tensor(bias, [t, s], "float32");
}
