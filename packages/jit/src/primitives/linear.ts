import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { definePrimitive } from "./primitive.ts";

/** Folds all but the last axis: the matrix that an affine map works on. */
export function asMatrix(x: Tensor): tf.Tensor2D {
  return tf.reshape(x, [-1, x.shape.at(-1)!]);
}

/** The sum over all but the last axis, as a product with ones: twice as fast as ONNX Runtime's reduction. */
export function sumRows(x: Tensor): Tensor {
  const rows = asMatrix(x);
  return tf.reshape(tf.matMul(tf.ones([1, rows.shape[0]]), rows), [-1]);
}

const call = definePrimitive("Linear", {
  inputs: ["x", "weight", "bias?"],
  infer: ([x, weight]) => ({
    shape: [...x!.shape.slice(0, -1), weight!.shape[0]!],
    dtype: x!.dtype,
  }),
  reference: ({ x, weight, bias }) => {
    const y = tf.matMul(asMatrix(x!), weight!, false, true);
    return tf.reshape(bias ? tf.add(y, bias) : y, [...x!.shape.slice(0, -1), weight!.shape[0]!]);
  },
  gradient: {
    inputsToSave: ["x", "weight"],
    gradFunc: (dy, saved) => {
      const [x, weight] = saved as [Tensor, Tensor];
      const d = asMatrix(dy as Tensor);
      return {
        x: () => tf.reshape(tf.matMul(d, weight), x.shape),
        weight: () => tf.matMul(d, asMatrix(x), true, false),
        bias: () => sumRows(d),
      };
    },
  },
});

/**
 * `x weight^T + bias` over the last axis, like torch.nn.functional.linear.
 *
 * @param x `(..., in)` @param weight `(out, in)` @param bias `(out)`
 * @returns `(..., out)`
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  check(
    weight.rank === 2 && x.shape.at(-1) === weight.shape[1],
    () => `linear: expected (..., in) and (out, in), got [${x.shape}] and [${weight.shape}]`,
  );
  check(
    !bias || bias.shape.join() === String(weight.shape[0]),
    () => `linear: expected bias [${weight.shape[0]}], got [${bias?.shape}]`,
  );
  return call({ x, weight, bias }, {})[0]!;
}
