/** Operations that pick or place elements by numbers that are tensors. */
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { below, integers, length, type Operation, operation, shape } from "./operation.ts";

const flat = { gradient: false } as const;

/** What the engines do not agree on. */
const outside =
  "an index outside is an error, but on ONNX Runtime negative ones count from the end";
const outsideRows =
  "an index outside is an error on TensorFlow, but on ONNX Runtime it may mean another row";

/** Places of 1 or 2 numbers below 2 in a shape of 2 and up, and what goes there. */
const places = fc
  .record({
    depth: fc.integer({ min: 1, max: 2 }),
    first: fc.constantFrom(2, 3, 5),
    second: fc.constantFrom(2, 3),
    rest: shape(1, 2),
    count: shape(1, 2),
  })
  .map(({ depth, first, second, rest, count }) => {
    const whole = [first, second, ...rest];
    return { whole, indices: [...count, depth], updates: [...count, ...whole.slice(depth)] };
  });

export const indexing: readonly Operation[] = [
  operation({
    name: "tf.gather",
    kernels: ["GatherV2"],
    draw: fc.tuple(shape(1, 3), shape(1, 2), fc.nat(3)).map(([rest, indices, place]) => {
      const axis = Math.min(place, rest.length);
      const x = [...rest.slice(0, axis), 3, ...rest.slice(axis)];
      return { shapes: [x, indices], options: { axis } };
    }),
    domain: [{}, below(3)],
    call: ([x, indices], { axis }) => tf.gather(x!, indices as tf.Tensor1D, axis),
    note: outside,
  }),
  operation({
    name: "tf.gather with batchDims",
    kernels: ["GatherV2"],
    draw: fc
      .record({
        batch: shape(1, 2),
        between: fc.array(length, { maxLength: 1 }),
        rest: fc.array(length, { maxLength: 1 }),
        count: length,
      })
      .map(({ batch, between, rest, count }) => ({
        shapes: [
          [...batch, ...between, 3, ...rest],
          [...batch, count],
        ],
        options: { axis: batch.length + between.length, batchDims: batch.length },
      })),
    domain: [{}, below(3)],
    call: ([x, indices], { axis, batchDims }) =>
      tf.gather(x!, indices as tf.Tensor1D, axis, batchDims),
    note: "an index outside may mean another row, without an error",
  }),
  operation({
    name: "tf.gatherND",
    kernels: ["GatherNd"],
    draw: places.map(({ whole, indices }) => ({ shapes: [whole, indices], options: undefined })),
    domain: [{}, below(2)],
    call: ([x, indices]) => tf.gatherND(x!, indices!),
    note: outside,
  }),
  operation({
    name: "tf.scatterND",
    kernels: ["ScatterNd"],
    draw: places.map(({ whole, indices, updates }) => ({
      shapes: [indices, updates],
      options: { whole },
    })),
    domain: [below(2), {}],
    call: ([indices, updates], { whole }) => tf.scatterND(indices!, updates!, whole),
    note: `sums what meets at one place; ${outsideRows}`,
  }),
  operation({
    name: "tf.tensorScatterUpdate",
    kernels: ["TensorScatterUpdate"],
    draw: fc.constantFrom(1, 2).chain((count) =>
      shape(1, 2).map((rest) => ({
        shapes: [
          [5, ...rest],
          [count, 1],
          [count, ...rest],
        ],
        options: { count },
      })),
    ),
    domain: [{}, below(2), {}],
    // Different places: which update stays where several meet is not defined.
    call: ([x, indices, updates], { count }) => {
      const apart = tf.reshape(tf.range(0, 2 * count, 2, "int32"), [count, 1]);
      return tf.tensorScatterUpdate(x!, tf.add(indices!, apart), updates!);
    },
    note: outsideRows,
  }),
  operation({
    name: "tf.unsortedSegmentSum",
    kernels: ["UnsortedSegmentSum"],
    draw: shape(1, 3).map((x) => ({ shapes: [x, [x[0]!]], options: undefined })),
    domain: [{}, { dtype: "int32", map: (x) => Math.round(2 * x) }],
    call: ([x, ids]) => tf.unsortedSegmentSum(x!, ids as tf.Tensor1D, 3),
    note: "what belongs to no segment is left out",
  }),
  operation({
    name: "tf.oneHot",
    kernels: ["OneHot"],
    draw: shape(0, 2).map((x) => ({ shapes: [x], options: undefined })),
    domain: integers,
    call: ([indices]) => [tf.oneHot(indices!, 3), tf.oneHot(indices!, 3, 2, -1, "float32")],
    note: "numbers below 0 or from `depth` on are no class",
    ...flat,
  }),
  operation({
    name: "tf.bincount",
    kernels: ["Bincount"],
    draw: length.map((n) => ({ shapes: [[n], [n]], options: undefined })),
    domain: [below(5), {}],
    call: ([x, weights]) => tf.bincount(x as tf.Tensor1D, weights as tf.Tensor1D, 4),
  }),
  operation({
    name: "tf.denseBincount",
    kernels: ["DenseBincount"],
    draw: shape(1, 2).map((x) => ({ shapes: [x, x], options: undefined })),
    domain: [below(5), {}],
    call: ([x, weights]) => tf.denseBincount(x as tf.Tensor1D, weights as tf.Tensor1D, 4),
  }),
  operation({
    name: "tf.denseBincount, binary",
    kernels: ["DenseBincount"],
    draw: shape(2, 2).map((x) => ({ shapes: [x], options: undefined })),
    // Of rank 2: for a vector tfjs's CPU backend counts all the same.
    domain: below(5),
    call: ([x]) =>
      tf.denseBincount(x as tf.Tensor2D, tf.ones(x!.shape as [number, number]), 4, true),
    ...flat,
  }),
  operation({
    name: "tf.math.confusionMatrix",
    kernels: ["OneHot", "BatchMatMul"],
    draw: length.map((n) => ({ shapes: [[n], [n]], options: undefined })),
    domain: below(3),
    call: ([labels, predictions]) =>
      tf.math.confusionMatrix(labels as tf.Tensor1D, predictions as tf.Tensor1D, 3),
    ...flat,
  }),
];
