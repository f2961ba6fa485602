/** Gradients of kernels that only move, repeat or pick elements. */

import { AlignTokError } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

tf.registerGradient({
  kernelName: "Identity",
  gradFunc: (dy) => ({ x: () => tf.cast(dy as Tensor, "float32") }),
});

tf.registerGradient({
  kernelName: "Reshape",
  inputsToSave: ["x"],
  gradFunc: (dy, saved) => ({ x: () => tf.reshape(dy as Tensor, saved[0]!.shape) }),
});

tf.registerGradient({
  kernelName: "ExpandDims",
  inputsToSave: ["input"],
  gradFunc: (dy, saved) => ({ input: () => tf.reshape(dy as Tensor, saved[0]!.shape) }),
});

tf.registerGradient({
  kernelName: "Transpose",
  gradFunc: (dy, _, { perm }) => ({
    x: () => {
      const inverse: number[] = [];
      (perm as number[]).forEach((from, to) => {
        inverse[from] = to;
      });
      return tf.transpose(dy as Tensor, inverse);
    },
  }),
});

tf.registerGradient({
  kernelName: "Concat",
  saveAllInputs: true,
  gradFunc: (dy, saved, { axis }) => {
    const along = tf.util.parseAxisParam(axis as number, saved[0]!.shape)[0]!;
    const sizes = saved.map(({ shape }) => shape[along]!);
    const parts = tf.split(dy as Tensor, sizes, along);
    return Object.fromEntries(parts.map((part, i) => [i, () => part]));
  },
});

tf.registerGradient({
  kernelName: "SplitV",
  gradFunc: (dy, _, { axis }) => ({ x: () => tf.concat(dy as Tensor[], axis as number) }),
});

tf.registerGradient({
  kernelName: "Pack",
  saveAllInputs: true,
  gradFunc: (dy, _, { axis }) =>
    Object.fromEntries(tf.unstack(dy as Tensor, axis as number).map((part, i) => [i, () => part])),
});

tf.registerGradient({
  kernelName: "Unpack",
  gradFunc: (dy, _, { axis }) => ({ value: () => tf.stack(dy as Tensor[], axis as number) }),
});

tf.registerGradient({
  kernelName: "Slice",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { begin, size }) => {
    const x = saved[0]!;
    const [starts, sizes] = tf.slice_util.parseSliceParams(x, begin as number[], size as number[]);
    const paddings = x.shape.map(
      (n, i) => [starts![i]!, n - starts![i]! - sizes![i]!] as [number, number],
    );
    return { x: () => tf.pad(dy as Tensor, paddings) };
  },
});

tf.registerGradient({
  kernelName: "PadV2",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { paddings }) => ({
    x: () =>
      tf.slice(
        dy as Tensor,
        (paddings as [number, number][]).map(([before]) => before),
        saved[0]!.shape,
      ),
  }),
});

tf.registerGradient({
  kernelName: "Tile",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { reps }) => ({
    // Splits each repeated dimension in (repetitions, size) and sums the first: any rank.
    x: () => {
      const { shape } = saved[0]!;
      const counts = reps as number[];
      const split = shape.flatMap((n, i) => (counts[i] === 1 ? [n] : [counts[i]!, n]));
      const axes: number[] = [];
      let axis = 0;
      for (const count of counts) {
        if (count !== 1) axes.push(axis++);
        axis++;
      }
      return axes.length === 0
        ? tf.clone(dy as Tensor)
        : tf.reshape(tf.sum(tf.reshape(dy as Tensor, split), axes), shape);
    },
  }),
});

tf.registerGradient({
  kernelName: "Reverse",
  gradFunc: (dy, _, { dims }) => ({ x: () => tf.reverse(dy as Tensor, dims as number[]) }),
});

tf.registerGradient({
  kernelName: "GatherV2",
  inputsToSave: ["x", "indices"],
  gradFunc: (dy, saved, { axis, batchDims }) => {
    const [x, indices] = saved as [Tensor, Tensor];
    if (batchDims) {
      throw new AlignTokError(
        "unsupported",
        `gradient of tf.gather: expected batchDims 0, got ${batchDims}. multiply by tf.oneHot of the indices`,
      );
    }
    return {
      // As a product with one-hot rows: deterministic, and a table of class embeddings is small.
      x: () => {
        const along = tf.util.parseAxisParam(axis as number, x.shape)[0]!;
        const rows = tf.util.sizeFromShape(indices.shape);
        const before = tf.util.sizeFromShape(x.shape.slice(0, along));
        const after = tf.util.sizeFromShape(x.shape.slice(along + 1));
        const count = x.shape[along]!;
        const picked = tf.oneHot(tf.reshape(tf.cast(indices, "int32"), [rows]), count);
        const oneHot = tf.cast(picked, "float32");
        const flat = tf.reshape(dy as Tensor, [before, rows, after]);
        const table =
          before === 1
            ? tf.matMul(oneHot, tf.reshape(flat, [rows, after]), true, false)
            : tf.matMul(
                tf.broadcastTo(tf.expandDims(oneHot, 0), [before, rows, count]),
                flat,
                true,
                false,
              );
        return tf.reshape(table, x.shape);
      },
      indices: () => tf.zerosLike(tf.cast(indices, "float32")),
    };
  },
});

for (const [kernelName, input] of [
  ["ZerosLike", "x"],
  ["OnesLike", "x"],
] as const) {
  tf.registerGradient({
    kernelName,
    gradFunc: (dy) => ({ [input]: () => tf.zerosLike(dy as Tensor) }),
  });
}

tf.registerGradient({
  kernelName: "OneHot",
  inputsToSave: ["indices"],
  gradFunc: (_, saved) => ({ indices: () => tf.zeros(saved[0]!.shape) }),
});
