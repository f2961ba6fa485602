/** Gradients of reductions and of the softmax family. */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

const axesOf = (axis: unknown, x: Tensor) => tf.util.parseAxisParam(axis as number[], x.shape);

/** dy with the reduced dimensions back as ones. */
function keepDims(dy: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return tf.reshape(
    dy,
    x.shape.map((n, i) => (axes.includes(i) ? 1 : n)),
  );
}

/** dy for every element that was reduced to it; tfjs's broadcastTo leaves 1 where the length is 0. */
function repeat(dy: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return x.size === 0 ? tf.zeros(x.shape) : tf.broadcastTo(keepDims(dy, x, axes), x.shape);
}

tf.registerGradient({
  kernelName: "Sum",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { axis }) => {
    const x = saved[0]!;
    return { x: () => repeat(dy as Tensor, x, axesOf(axis, x)) };
  },
});

tf.registerGradient({
  kernelName: "Mean",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { axis }) => {
    const x = saved[0]!;
    const axes = axesOf(axis, x);
    const count = axes.reduce((product, i) => product * x.shape[i]!, 1);
    return { x: () => repeat(tf.div(dy as Tensor, count), x, axes) };
  },
});

for (const [kernelName, key] of [
  ["Max", "reductionIndices"],
  ["Min", "axis"],
] as const) {
  // Equal extremes each get the whole gradient, as in tfjs (PyTorch shares it among them).
  tf.registerGradient({
    kernelName,
    inputsToSave: ["x"],
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => {
      const [x, y] = saved as [Tensor, Tensor];
      const axes = axesOf(attributes[key], x);
      const chosen = tf.cast(tf.equal(x, keepDims(y, x, axes)), "float32");
      return { x: () => tf.mul(chosen, keepDims(dy as Tensor, x, axes)) };
    },
  });
}

tf.registerGradient({
  kernelName: "Prod",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { axis }) => ({
    // The product of all others, from those before and those after: right where some are 0.
    x: () => {
      const x = saved[0]!;
      const axes = axesOf(axis, x);
      const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
      const perm = [...kept, ...axes];
      const moved = tf.transpose(x, perm);
      const rows = tf.reshape(moved, [tf.util.sizeFromShape(kept.map((i) => x.shape[i]!)), -1]);
      const others = tf.mul(tf.cumprod(rows, 1, true, false), tf.cumprod(rows, 1, true, true));
      const inverse = x.shape.map((_, i) => perm.indexOf(i));
      const back = tf.transpose(tf.reshape(others, moved.shape), inverse);
      return tf.mul(back, keepDims(dy as Tensor, x, axes));
    },
  }),
});

tf.registerGradient({
  kernelName: "Cumsum",
  inputsToSave: ["x"],
  gradFunc: (dy, _, { axis, exclusive, reverse }) => ({
    x: () => tf.cumsum(dy as Tensor, axis as number, exclusive as boolean, !reverse),
  }),
});

tf.registerGradient({
  kernelName: "Softmax",
  outputsToSave: [true],
  gradFunc: (dy, saved, { dim }) => ({
    logits: () => {
      const y = saved[0]!;
      const product = tf.mul(dy as Tensor, y);
      return tf.sub(product, tf.mul(tf.sum(product, [dim as number], true), y));
    },
  }),
});

tf.registerGradient({
  kernelName: "LogSoftmax",
  outputsToSave: [true],
  gradFunc: (dy, saved, { axis }) => ({
    logits: () => {
      const total = tf.sum(dy as Tensor, axis as number, true);
      return tf.sub(dy as Tensor, tf.mul(total, tf.exp(saved[0]!)));
    },
  }),
});
