import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { silu } from "./activation.ts";

/**
 * `silu(gate) * value`, with gate and value the first and second half of the last axis (Shazeer, "GLU Variants Improve
 * Transformer", 2020). A composition: the passes over memory are as few as a fused form of it would make here.
 *
 * @param x `(..., 2h)` @returns `(..., h)`
 */
export function swiglu(x: Tensor): Tensor {
  const width = x.shape.at(-1);
  check(
    width !== undefined && width % 2 === 0,
    () => `swiglu: expected an even last axis, got [${x.shape}]`,
  );
  const [gate, value] = tf.split(x, 2, -1) as [Tensor, Tensor];
  return tf.mul(silu(gate), value);
}
