import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { definePrimitive } from "./primitive.ts";

/** The two coordinates of every plane, each `(..., T, d / 2)`. */
function coordinates(x: Tensor, interleaved: unknown): [Tensor, Tensor] {
  if (!interleaved) return tf.split(x, 2, -1) as [Tensor, Tensor];
  const planes = tf.reshape(x, [...x.shape.slice(0, -1), -1, 2]);
  return tf.unstack(planes, -1) as [Tensor, Tensor];
}

function join(a: Tensor, b: Tensor, interleaved: unknown): Tensor {
  if (!interleaved) return tf.concat([a, b], -1);
  return tf.reshape(tf.stack([a, b], -1), [...a.shape.slice(0, -1), -1]);
}

const call = definePrimitive("Rope", {
  inputs: ["x", "cos", "sin"],
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, cos, sin }, { interleaved }) => {
    const [a, b] = coordinates(x!, interleaved);
    return join(
      tf.sub(tf.mul(a, cos!), tf.mul(b, sin!)),
      tf.add(tf.mul(b, cos!), tf.mul(a, sin!)),
      interleaved,
    );
  },
  gradient: {
    inputsToSave: ["x", "cos", "sin"],
    gradFunc: (dy, saved, attributes) => {
      const [x, cos, sin] = saved as [Tensor, Tensor, Tensor];
      const [da, db] = coordinates(dy as Tensor, attributes.interleaved);
      const [a, b] = coordinates(x, attributes.interleaved);
      const sum = (z: Tensor) => tf.sum(tf.reshape(z, [-1, ...cos.shape]), 0);
      return {
        x: () => call({ x: dy as Tensor, cos, sin: tf.neg(sin) }, attributes)[0]!, // the turn back
        cos: () => sum(tf.add(tf.mul(da, a), tf.mul(db, b))),
        sin: () => sum(tf.sub(tf.mul(db, a), tf.mul(da, b))),
      };
    },
  },
});

export interface RopeOptions {
  /**
   * Which channels are the coordinates of plane i: neighbours, 2i and 2i + 1 (EVA-02, LightningDiT, GPT-J), or i and
   * i + d/2 (DINOv3, LLaMA in Hugging Face's layout, GPT-NeoX). @default false
   */
  readonly interleaved?: boolean;
}

/**
 * Rotary position embedding (Su et al., 2021): turns each plane of channels by the angle of its position, (a, b) to
 * `(a cos - b sin, b cos + a sin)`.
 *
 * @param x `(..., T, d)` queries or keys, d even @param cos `(T, d / 2)` @param sin `(T, d / 2)`
 */
export function rope(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  { interleaved = false }: RopeOptions = {},
): Tensor {
  const table = [x.shape.at(-2), (x.shape.at(-1) ?? 1) / 2].join();
  check(
    x.rank >= 2 && [cos, sin].every(({ shape }) => shape.join() === table),
    () =>
      `rope: expected (..., T, d) with tables (T, d / 2), got [${x.shape}], [${cos.shape}] and [${sin.shape}]`,
  );
  return call({ x, cos, sin }, { interleaved })[0]!;
}
