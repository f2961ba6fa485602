import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { definePrimitive } from "./primitive.ts";

// The probabilities are a second output because the gradient needs them.
const call = definePrimitive("Attention", {
  inputs: ["q", "k", "v"],
  infer: ([q, k, v]) => [
    { shape: [...q!.shape.slice(0, -1), v!.shape.at(-1)!], dtype: "float32" },
    { shape: [...q!.shape.slice(0, -1), k!.shape.at(-2)!], dtype: "float32" },
  ],
  reference: ({ q, k, v }, { scale }) => {
    const probabilities = tf.softmax(tf.mul(tf.matMul(q!, k!, false, true), scale as number));
    return [tf.matMul(probabilities, v!), probabilities];
  },
  gradient: {
    inputsToSave: ["q", "k", "v"],
    outputsToSave: [false, true],
    gradFunc: (dys, saved, { scale }) => {
      const [q, k, v, probabilities] = saved as [Tensor, Tensor, Tensor, Tensor];
      const dy = (dys as Tensor[])[0]!;
      const scores = () => {
        const product = tf.mul(tf.matMul(dy, v, false, true), probabilities);
        return tf.sub(product, tf.mul(tf.sum(product, -1, true), probabilities));
      };
      return {
        q: () => tf.mul(tf.matMul(scores(), k), scale as number),
        k: () => tf.mul(tf.matMul(scores(), q, true, false), scale as number),
        v: () => tf.matMul(probabilities, dy, true, false),
      };
    },
  },
});

/**
 * Scaled dot-product attention, `softmax(q k^T scale) v`, for each batch and head.
 *
 * @param q `(B, H, T, d)` @param k `(B, H, S, d)` @param v `(B, H, S, e)`
 * @returns `(B, H, T, e)`
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  check(
    [q, k, v].every(({ rank }) => rank === 4) &&
      [k, v].every(({ shape: [b, h] }) => b === q.shape[0] && h === q.shape[1]) &&
      q.shape[3] === k.shape[3] &&
      k.shape[2] === v.shape[2],
    () =>
      `attention: expected (B, H, T, d), (B, H, S, d) and (B, H, S, e), got [${q.shape}], [${k.shape}] and [${v.shape}]`,
  );
  return call({ q, k, v }, { scale })[0]!;
}
