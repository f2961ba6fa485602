import { check } from "@aligntok/core";
import type { GradConfig, Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { asMatrix, sumRows } from "./linear.ts";
import { definePrimitive } from "./primitive.ts";

const last = [-1];
const meanLast = (x: Tensor) => tf.mean(x, last, true);
const lastToOne = (shape: readonly number[]) => [...shape.slice(0, -1), 1];

/** The mean over the last axis of `x * weight`, as a product: without the array of `x * weight`. */
function weightedMean(x: Tensor, weight: Tensor): Tensor {
  const column = tf.reshape(tf.div(weight, weight.size), [-1, 1]);
  return tf.reshape(tf.matMul(asMatrix(x), column), lastToOne(x.shape));
}

/**
 * Gradients of (x - mean) / std and 1 / std, or of x / rms and 1 / rms: what second derivatives of the norms need.
 * dx = inverse * (d - mean(d), where the mean was taken away - normal * (mean(d normal) + inverse dInverse / D))
 */
const standardizeGradient = (centred: boolean): Omit<GradConfig, "kernelName"> => ({
  outputsToSave: [true, true],
  gradFunc: (dys, saved) => {
    const [d, dInverse] = dys as [Tensor, Tensor];
    const [normal, inverse] = saved as [Tensor, Tensor];
    return {
      x: () => {
        const spread = tf.div(tf.mul(inverse, dInverse), normal.shape.at(-1)!);
        const projection = tf.mul(normal, tf.add(meanLast(tf.mul(d, normal)), spread));
        return tf.mul(tf.sub(centred ? tf.sub(d, meanLast(d)) : d, projection), inverse);
      },
    };
  },
});

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
  gradient: standardizeGradient(true),
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
      const product = tf.mul(d, normal);
      return {
        // inverse * (d w - mean(d w) - normal * mean(d w normal))
        x: () => {
          const centred = tf.sub(tf.mul(d, weight), weightedMean(d, weight));
          const projection = tf.mul(normal, weightedMean(product, weight));
          return tf.mul(tf.sub(centred, projection), inverse);
        },
        weight: () => sumRows(product),
        bias: () => sumRows(d),
      };
    },
  },
});

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

// Divides the last axis by its root mean square; the second output, 1 / rms, is what the gradient needs.
const standardizeRms = definePrimitive("StandardizeRms", {
  inputs: ["x"],
  infer: ([x]) => [
    { shape: x!.shape, dtype: "float32" },
    { shape: lastToOne(x!.shape), dtype: "float32" },
  ],
  reference: ({ x }, { epsilon }) => {
    const inverse = tf.rsqrt(tf.add(meanLast(tf.square(x!)), epsilon as number));
    return [tf.mul(x!, inverse), inverse];
  },
  gradient: standardizeGradient(false),
});

const callRmsNorm = definePrimitive("RmsNorm", {
  inputs: ["x", "weight"],
  infer: ([x]) => ({ shape: x!.shape, dtype: "float32" }),
  reference: ({ x, weight }, attributes) => tf.mul(standardizeRms({ x }, attributes)[0]!, weight!),
  gradient: {
    inputsToSave: ["x", "weight"],
    gradFunc: (dy, saved, attributes) => {
      const [x, weight] = saved as [Tensor, Tensor];
      const d = dy as Tensor;
      const [normal, inverse] = standardizeRms({ x }, attributes) as [Tensor, Tensor];
      const product = tf.mul(d, normal);
      return {
        // inverse * (d w - normal * mean(d w normal))
        x: () => {
          const projection = tf.mul(normal, weightedMean(product, weight));
          return tf.mul(tf.sub(tf.mul(d, weight), projection), inverse);
        },
        weight: () => sumRows(product),
      };
    },
  },
});

/** Root-mean-square normalisation over the last axis: `x / sqrt(mean(x^2) + epsilon) * weight`. */
export function rmsNorm(x: Tensor, weight: Tensor | undefined, epsilon: number): Tensor {
  const width = widthOf(x, { weight });
  return callRmsNorm({ x, weight: weight ?? tf.ones([width]) }, { epsilon })[0]!;
}
