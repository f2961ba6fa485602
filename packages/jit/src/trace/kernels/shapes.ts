/** Kernels that only move, repeat or leave out elements. */
import { check, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes, Value } from "../../graph/graph.ts";
import { defineAlias, defineKernel } from "../kernel.ts";
import { axesOf, axisOf, like } from "./arguments.ts";

defineAlias("Identity", "x");
defineKernel("Reshape", {
  inputs: ["x"],
  attributes: ({ shape }, [x]) => ({
    shape: tf.util.inferFromImplicitShape(shape as number[], sizeOf(x!.shape)),
  }),
  infer: ([x], { shape }) => ({ shape: shape as number[], dtype: x!.dtype }),
});
defineKernel("ExpandDims", {
  inputs: ["input"],
  infer: ([x], { dim }) => {
    const shape = [...x!.shape];
    const axis = dim as number;
    shape.splice(axis < 0 ? shape.length + 1 + axis : axis, 0, 1);
    return { shape, dtype: x!.dtype };
  },
});
defineKernel("Transpose", {
  inputs: ["x"],
  infer: ([x], { perm }) => ({
    shape: (perm as number[]).map((axis) => x!.shape[axis]!),
    dtype: x!.dtype,
  }),
});
defineKernel("Concat", {
  inputs: "list",
  attributes: ({ axis }, [x]) => ({ axis: axisOf(axis, x!) }),
  infer: (inputs, { axis }) => {
    const shapes = inputs.map(({ shape }) => [...shape]);
    tf.backend_util.assertParamsConsistent(shapes, axis as number);
    return {
      shape: tf.backend_util.computeOutShape(shapes, axis as number),
      dtype: inputs[0]!.dtype,
    };
  },
});
defineKernel("Slice", {
  inputs: ["x"],
  attributes: ({ begin, size }, [x]) => {
    const shaped = { shape: [...x!.shape] } as Parameters<typeof tf.slice_util.parseSliceParams>[0];
    const [starts, sizes] = tf.slice_util.parseSliceParams(
      shaped,
      begin as number[],
      size as number[],
    );
    tf.slice_util.assertParamsValid(shaped, starts!, sizes!);
    return { begin: starts, size: sizes };
  },
  infer: ([x], { size }) => ({ shape: size as number[], dtype: x!.dtype }),
});
defineKernel("SplitV", {
  inputs: ["x"],
  attributes: ({ numOrSizeSplits, axis }, [x]) => {
    const along = axisOf(axis, x!);
    const shaped = { shape: [...x!.shape] } as Parameters<
      typeof tf.backend_util.prepareSplitSize
    >[0];
    return {
      sizes: tf.backend_util.prepareSplitSize(shaped, numOrSizeSplits as number | number[], along),
      axis: along,
    };
  },
  infer: ([x], { sizes, axis }) =>
    (sizes as number[]).map((size) => ({
      shape: x!.shape.map((n, i) => (i === axis ? size : n)),
      dtype: x!.dtype,
    })),
});
defineKernel("Pack", {
  inputs: "list",
  attributes: ({ axis }, [x]) => ({
    axis: (axis as number) < 0 ? x!.shape.length + 1 + (axis as number) : axis,
  }),
  infer: (inputs, { axis }) => {
    const shape = [...inputs[0]!.shape];
    for (const other of inputs) {
      check(
        other.shape.join() === shape.join(),
        () => `tf.stack: expected equal shapes, got [${shape}] and [${other.shape}]`,
      );
    }
    shape.splice(axis as number, 0, inputs.length);
    return { shape, dtype: inputs[0]!.dtype };
  },
});
defineKernel("Unpack", {
  inputs: ["value"],
  attributes: ({ axis }, [x]) => ({ axis: axisOf(axis, x!) }),
  infer: ([x], { axis }) =>
    Array.from({ length: x!.shape[axis as number]! }, () => ({
      shape: x!.shape.filter((_, i) => i !== axis),
      dtype: x!.dtype,
    })),
});
/** From `begin` to before `end` in steps that may be negative, every axis of the input. */
defineKernel("StridedSlice", {
  inputs: ["x"],
  attributes: ({ begin, end, strides }) => ({ begin, end, strides }),
  infer: ([x], { begin, end, strides }) => ({
    shape: tf.slice_util.computeOutShape(begin as number[], end as number[], strides as number[]),
    dtype: x!.dtype,
  }),
  instead: ({ x }, attributes) => plainStrides(x!, attributes),
});
defineKernel("PadV2", {
  inputs: ["x"],
  infer: ([x], { paddings }) => ({ shape: padded(x!, paddings), dtype: x!.dtype }),
});
defineKernel("MirrorPad", {
  inputs: ["x"],
  infer: ([x], { paddings }) => ({ shape: padded(x!, paddings), dtype: x!.dtype }),
});
defineKernel("Tile", {
  inputs: ["x"],
  infer: ([x], { reps }) => ({
    shape: x!.shape.map((n, i) => n * (reps as number[])[i]!),
    dtype: x!.dtype,
  }),
});
defineKernel("Reverse", {
  inputs: ["x"],
  attributes: ({ dims }, [x]) => ({ axes: axesOf(dims, x!) }),
  infer: like,
});
function padded(x: Value, paddings: unknown): number[] {
  return x.shape.map((n, i) => {
    const [before, after] = (paddings as [number, number][])[i]!;
    return before + n + after;
  });
}

/** The forms of tf.stridedSlice that masks stand for, as one with neither masks nor axes left out. */
function plainStrides(x: Tensor, attributes: Attributes): Tensor | undefined {
  if (!("beginMask" in attributes)) return undefined;
  const { finalShape, begin, end, strides } = stridesOf(x, attributes);
  const sizes = tf.slice_util.computeOutShape(begin, end, strides).map((n) => Math.max(n, 0));
  const picked = strides.every((step) => step === 1)
    ? tf.slice(x, begin, sizes)
    : (tf.engine().runKernel("StridedSlice", { x }, { begin, end, strides }) as Tensor);
  return tf.reshape(picked, finalShape);
}

/** What tf.stridedSlice picks: for every axis of x where it begins, where it ends (excluded; -1 is before the first), and the step. */
export function stridesOf(x: Tensor, attributes: Attributes) {
  const { begin, end, strides } = attributes as Record<"begin" | "end" | "strides", number[]>;
  const mask = (name: string) => (attributes[name] as number | undefined) ?? 0;
  return tf.slice_util.sliceInfo(
    x.shape,
    begin,
    end,
    strides,
    mask("beginMask"),
    mask("endMask"),
    mask("ellipsisMask"),
    mask("newAxisMask"),
    mask("shrinkAxisMask"),
  );
}
