/** Gradients of kernels that only move, repeat or pick elements. */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { stridesOf } from "../trace/kernels/shapes.ts";

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

/** tfjs hands over the slope of a single output as it is. */
const asList = (dy: Tensor | Tensor[]) => (Array.isArray(dy) ? dy : [dy]);

tf.registerGradient({
  kernelName: "SplitV",
  gradFunc: (dy, _, { axis }) => ({ x: () => tf.concat(asList(dy), axis as number) }),
});

tf.registerGradient({
  kernelName: "Pack",
  saveAllInputs: true,
  gradFunc: (dy, _, { axis }) =>
    Object.fromEntries(tf.unstack(dy as Tensor, axis as number).map((part, i) => [i, () => part])),
});

tf.registerGradient({
  kernelName: "Unpack",
  gradFunc: (dy, _, { axis }) => ({ value: () => tf.stack(asList(dy), axis as number) }),
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
  kernelName: "StridedSlice",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, attributes) => ({
    // Axis by axis: turned round where it went backwards, the steps filled with zeros, and zeros before and after.
    x: () => {
      const x = saved[0]!;
      const { begin, end, strides } = stridesOf(x, attributes);
      const sizes = tf.slice_util.computeOutShape(begin, end, strides).map((n) => Math.max(n, 0));
      const shape = [...sizes];
      return x.shape.reduce<Tensor>(
        (slope, n, axis) => {
          const [step, count] = [strides[axis]!, sizes[axis]!];
          const first = step > 0 ? begin[axis]! : begin[axis]! + (count - 1) * step;
          const [outer, inner] = [shape.slice(0, axis), shape.slice(axis + 1)].map(
            tf.util.sizeFromShape,
          ) as [number, number];
          shape[axis] = n;
          if (count === 0) return tf.zeros(shape);
          let rows = tf.reshape(slope, [outer, count, 1, inner]);
          if (step < 0) rows = tf.reverse(rows, 1);
          const gap = Math.abs(step) - 1;
          if (gap > 0) rows = padAxis(rows, 2, [0, gap]);
          const reach = (count - 1) * (gap + 1) + 1;
          const line = tf.slice(
            tf.reshape(rows, [outer, count * (gap + 1), inner]),
            [0, 0, 0],
            [outer, reach, inner],
          );
          return tf.reshape(padAxis(line, 1, [first, n - first - reach]), shape.with(axis, n));
        },
        tf.reshape(dy as Tensor, sizes),
      );
    },
  }),
});

function padAxis(x: Tensor, axis: number, amount: [number, number]): Tensor {
  if (amount[0] === 0 && amount[1] === 0) return x;
  return tf.pad(
    x,
    x.shape.map((_, i) => (i === axis ? amount : [0, 0])),
  );
}

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
  kernelName: "MirrorPad",
  inputsToSave: ["x"],
  gradFunc: (dy, saved, { paddings, mode }) => ({
    // Axis by axis: both margins are turned round and added to what they mirror.
    x: () => {
      const skip = (mode as unknown) === "reflect" ? 1 : 0; // the border itself is not repeated
      const x = saved[0]!;
      return x.shape.reduce<Tensor>((slope, n, axis) => {
        const [before, after] = (paddings as [number, number][])[axis]!;
        const part = (start: number, size: number) => {
          const begin = slope.shape.map((_, i) => (i === axis ? start : 0));
          const sizes = slope.shape.map((length, i) => (i === axis ? size : length));
          return tf.slice(slope, begin, sizes);
        };
        const parts = [part(before, n)];
        if (before) {
          const margin = tf.reverse(part(0, before), axis);
          parts.push(padAxis(margin, axis, [skip, n - before - skip]));
        }
        if (after) {
          const margin = tf.reverse(part(before + n, after), axis);
          parts.push(padAxis(margin, axis, [n - after - skip, skip]));
        }
        return parts.length === 1 ? parts[0]! : tf.addN(parts);
      }, dy as Tensor);
    },
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

for (const [kernelName, input] of [
  ["ZerosLike", "x"],
  ["OnesLike", "x"],
] as const) {
  tf.registerGradient({
    kernelName,
    gradFunc: (dy) => ({ [input]: () => tf.zerosLike(dy as Tensor) }),
  });
}
