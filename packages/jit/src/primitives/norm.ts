import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { definePrimitive } from "./primitive.ts";

const last = [-1];
const meanLast = (x: Tensor) => tf.mean(x, last, true);
const lastToOne = (shape: readonly number[]) => [...shape.slice(0, -1), 1];
const sumRows = (x: Tensor) => tf.sum(tf.reshape(x, [-1, x.shape.at(-1)!]), 0);

// Standardises the last axis; the second output, 1 / std, is what the gradient needs.
const standardize = definePrimitive("Standardize", {
  inputs: ["x"],
  infer: ([x]) => [
    { shape: x!.shape, dtype: "float32" },
    { shape: lastToOne(x!.shape), dtype: "float32" },
  ],
  reference: ({ x }, { epsilon }) => {
    const centred = tf.sub(x!, meanLast(x!));
    const inverse = tf.rsqrt(tf.add(meanLast(tf.square(centred)), epsilon as number));
    return [tf.mul(centred, inverse), inverse];
  },
});

const callLayerNorm = definePrimitive("LayerNorm", {
  inputs: ["x", "weight", "bias"],
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, weight, bias }, attributes) => {
    const [normal] = standardize({ x }, attributes);
    return tf.add(tf.mul(normal!, weight!), bias!);
  },
  gradient: {
    inputsToSave: ["x", "weight"],
    gradFunc: (dy, saved, attributes) => {
      const [x, weight] = saved as [Tensor, Tensor];
      const d = dy as Tensor;
      const [normal, inverse] = standardize({ x }, attributes) as [Tensor, Tensor];
      return {
        x: () => standardizeGradient(tf.mul(d, weight), normal, inverse),
        weight: () => sumRows(tf.mul(d, normal)),
        bias: () => sumRows(d),
      };
    },
  },
});

/** dx = inverse * (d - mean(d) - normal * mean(d * normal)) */
function standardizeGradient(d: Tensor, normal: Tensor, inverse: Tensor): Tensor {
  const projection = tf.mul(normal, meanLast(tf.mul(d, normal)));
  return tf.mul(tf.sub(tf.sub(d, meanLast(d)), projection), inverse);
}

/**
 * Layer normalisation over the last axis: `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
 * `weight` and `bias` are `(D)`; without them the result is only standardised.
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  epsilon: number,
): Tensor {
  const width = widthOf(x, { weight, bias });
  return callLayerNorm(
    { x, weight: weight ?? tf.ones([width]), bias: bias ?? tf.zeros([width]) },
    { epsilon },
  )[0]!;
}

/** The length of the last axis, which that of the parameters must be, too. */
function widthOf(x: Tensor, params: Readonly<Record<string, Tensor | undefined>>): number {
  check(x.rank > 0, "norm: expected at least one axis, got a scalar");
  const width = x.shape.at(-1)!;
  for (const [name, param] of Object.entries(params)) {
    check(
      !param || param.shape.join() === String(width),
      () => `norm of [${x.shape}]: expected ${name} [${width}], got [${param?.shape}]`,
    );
  }
  return width;
}

const callRmsNorm = definePrimitive("RmsNorm", {
  inputs: ["x", "weight"],
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, weight }, { epsilon }) => tf.mul(tf.mul(x!, inverseRms(x!, epsilon)), weight!),
  gradient: {
    inputsToSave: ["x", "weight"],
    gradFunc: (dy, saved, { epsilon }) => {
      const [x, weight] = saved as [Tensor, Tensor];
      const d = dy as Tensor;
      const inverse = inverseRms(x, epsilon);
      return {
        // inverse * (d w) - x * inverse^3 * mean(d w x)
        x: () => {
          const scaled = tf.mul(d, weight);
          const slope = tf.mul(meanLast(tf.mul(scaled, x)), tf.pow(inverse, 3));
          return tf.sub(tf.mul(scaled, inverse), tf.mul(x, slope));
        },
        weight: () => sumRows(tf.mul(d, tf.mul(x, inverse))),
      };
    },
  },
});

function inverseRms(x: Tensor, epsilon: unknown): Tensor {
  return tf.rsqrt(tf.add(meanLast(tf.square(x)), epsilon as number));
}

/** Root-mean-square normalisation over the last axis: `x / sqrt(mean(x^2) + epsilon) * weight`. */
export function rmsNorm(x: Tensor, weight: Tensor | undefined, epsilon: number): Tensor {
  const width = widthOf(x, { weight });
  return callRmsNorm({ x, weight: weight ?? tf.ones([width]) }, { epsilon })[0]!;
}
