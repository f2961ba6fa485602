/** Gradients of kernels that pick or place elements by numbers that are tensors. */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { type GatherOptions, gatherRows } from "../trace/kernels/indexing.ts";

/** Numbers that say where have no slope. */
const flat = (x: Tensor) => tf.zeros(x.shape);

tf.registerGradient({
  kernelName: "GatherV2",
  inputsToSave: ["x", "indices"],
  gradFunc: (dy, saved, { axis, batchDims }) => {
    const [x, indices] = saved as [Tensor, Tensor];
    const options = { axis, batchDims: batchDims ?? 0 } as unknown as GatherOptions;
    return {
      x: () => {
        const { rows, table } = gatherRows(x, indices, options);
        const [count, width] = table;
        const slopes = tf.reshape(dy as Tensor, [-1, width]);
        return tf.reshape(tf.scatterND(tf.reshape(rows, [-1, 1]), slopes, [count, width]), x.shape);
      },
      indices: () => flat(indices),
    };
  },
});

tf.registerGradient({
  kernelName: "GatherNd",
  inputsToSave: ["params", "indices"],
  gradFunc: (dy, saved) => {
    const [params, indices] = saved as [Tensor, Tensor];
    return {
      params: () => tf.scatterND(indices, dy as Tensor, params.shape),
      indices: () => flat(indices),
    };
  },
});

tf.registerGradient({
  kernelName: "ScatterNd",
  inputsToSave: ["indices"],
  gradFunc: (dy, saved) => ({
    indices: () => flat(saved[0]!),
    updates: () => tf.gatherND(dy as Tensor, saved[0]!),
  }),
});

tf.registerGradient({
  kernelName: "TensorScatterUpdate",
  inputsToSave: ["indices", "updates"],
  gradFunc: (dy, saved) => {
    const [indices, updates] = saved as [Tensor, Tensor];
    return {
      tensor: () => {
        // Not as an update of dy: tfjs's CPU backend writes into what it updates.
        const written = tf.scatterND(indices, tf.onesLike(updates), (dy as Tensor).shape);
        return tf.mul(dy as Tensor, tf.cast(tf.equal(written, 0), "float32"));
      },
      indices: () => flat(indices),
      updates: () => tf.gatherND(dy as Tensor, indices),
    };
  },
});

tf.registerGradient({
  kernelName: "TopK",
  inputsToSave: ["x"],
  outputsToSave: [false, true],
  gradFunc: (dys, saved) => {
    const [x, indices] = saved as [Tensor, Tensor];
    return {
      x: () => {
        const length = x.shape.at(-1)!;
        const rows = x.size / length;
        const starts = Array.from({ length: rows }, (_, i) => i * length);
        const places = tf.add(
          tf.tensor(starts, [rows, 1], "int32"),
          tf.reshape(indices, [rows, -1]),
        );
        const slopes = tf.reshape((dys as Tensor[])[0]!, [-1]);
        return tf.reshape(tf.scatterND(tf.reshape(places, [-1, 1]), slopes, [x.size]), x.shape);
      },
    };
  },
});

tf.registerGradient({
  kernelName: "OneHot",
  inputsToSave: ["indices"],
  gradFunc: (_, saved) => ({ indices: () => flat(saved[0]!) }),
});
