/** Kernels that pick or place elements by numbers that are tensors themselves. */
import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Value } from "../../graph/graph.ts";
import { traceable } from "../backend.ts";
import { defineKernel } from "../kernel.ts";
import { axisOf, checkTypes } from "./arguments.ts";

/** What tfjs's checks look at. */
const shaped = ({ shape, dtype }: Value) =>
  ({ shape: [...shape], rank: shape.length, dtype }) as unknown as Tensor;

defineKernel("GatherV2", {
  inputs: ["x", "indices"],
  attributes: ({ axis }, [x]) => ({ axis: axisOf(axis, x!) }),
  infer: ([x, indices], { axis }) => {
    checkTypes("Gather", [indices], "int32");
    return {
      shape: [
        ...x!.shape.slice(0, axis as number),
        ...indices!.shape,
        ...x!.shape.slice((axis as number) + 1),
      ],
      dtype: x!.dtype,
    };
  },
  instead: ({ x, indices }, { axis, batchDims }) =>
    batchDims
      ? gatherFlat(x!, indices!, { axis: axis as number, batchDims: batchDims as number })
      : undefined,
});
defineKernel("GatherNd", {
  inputs: ["params", "indices"],
  infer: ([x, indices]) => {
    checkTypes("GatherND", [indices], "int32");
    const [shape] = tf.backend_util.prepareAndValidate(shaped(x!), shaped(indices!));
    return { shape, dtype: x!.dtype };
  },
});
/** Zeros with the updates added at their places. */
defineKernel("ScatterNd", {
  inputs: ["indices", "updates"],
  infer: ([indices, updates], { shape }) => {
    checkTypes("ScatterND", [indices], "int32");
    checkTypes("ScatterND", [updates], "float32", "int32");
    tf.scatter_util.validateInput(shaped(updates!), shaped(indices!), shape as number[]);
    return { shape: shape as number[], dtype: updates!.dtype };
  },
});
/** A tensor with the updates in place of what it has there. */
defineKernel("TensorScatterUpdate", {
  inputs: ["tensor", "indices", "updates"],
  infer: ([x, indices]) => {
    checkTypes("TensorScatterUpdate", [indices], "int32");
    return { shape: x!.shape, dtype: x!.dtype };
  },
});
defineKernel("OneHot", {
  inputs: ["indices"],
  infer: ([indices], { depth, dtype }) => ({
    shape: [...indices!.shape, depth as number],
    dtype: traceable((dtype as Value["dtype"] | undefined) ?? "int32"),
  }),
});

export interface GatherOptions {
  readonly axis: number;
  readonly batchDims: number;
}

/**
 * The places of what `tf.gather` picks, in rows of `x` as a matrix of (everything up to and with `axis`, the rest):
 * `rows` has the shape (B, before, m) for B batches, `before` the axes between them and `axis`, and m indices each.
 */
export function gatherRows(x: Tensor, indices: Tensor, { axis, batchDims }: GatherOptions) {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  const batch = batchDims < 0 ? indices.rank + batchDims : batchDims;
  check(
    batch <= Math.min(along, indices.rank) &&
      x.shape.slice(0, batch).join() === indices.shape.slice(0, batch).join(),
    () =>
      `tf.gather: expected the first ${batch} dimensions to be equal and before axis ${along}, got [${x.shape}] and [${indices.shape}]`,
  );
  const sizes = [x.shape.slice(0, batch), x.shape.slice(batch, along), x.shape.slice(along + 1)];
  const [batches, before, after] = sizes.map(tf.util.sizeFromShape) as [number, number, number];
  const length = x.shape[along]!;
  const starts = Array.from({ length: batches * before }, (_, i) => i * length);
  const places = tf.reshape(indices, [batches, 1, -1]);
  const rows =
    batches * before === 1
      ? places
      : tf.add(tf.tensor(starts, [batches, before, 1], "int32"), places);
  const inner = indices.shape.slice(batch);
  const shape = [...x.shape.slice(0, along), ...inner, ...x.shape.slice(along + 1)];
  return { rows, shape, table: [batches * before * length, after] as const };
}

/** `tf.gather` as one of rows: with `batchDims`, which engines do not have for every axis. */
function gatherFlat(x: Tensor, indices: Tensor, options: GatherOptions): Tensor {
  const { rows, shape, table } = gatherRows(x, indices, options);
  return tf.reshape(tf.gather(tf.reshape(x, [...table]), tf.reshape(rows, [-1])), shape);
}
