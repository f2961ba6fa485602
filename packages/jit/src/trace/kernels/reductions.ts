/** Kernels along one or more axes: sums, extremes, softmax, running sums, the largest. */
import { check } from "@aligntok/core";
import type { Value } from "../../graph/graph.ts";
import { defineKernel } from "../kernel.ts";
import { axesOf, axisOf, checkTypes, like } from "./arguments.ts";

for (const [name, key, ...types] of [
  ["Sum", "axis", "float32", "int32"],
  ["Mean", "axis", "float32"],
  ["Max", "reductionIndices", "float32", "int32"],
  ["Min", "axis", "float32", "int32"],
  ["Prod", "axis", "float32", "int32"],
  ["All", "axis", "bool"],
  ["Any", "axis", "bool"],
] as const) {
  defineKernel(name, {
    inputs: ["x"],
    attributes: (attributes, [x]) => ({
      axes: axesOf(attributes[key], x!),
      keepDims: attributes.keepDims === true,
    }),
    infer: ([x], { axes, keepDims }) => {
      checkTypes(name, [x], ...types);
      return {
        shape: x!.shape.flatMap((n, i) =>
          (axes as number[]).includes(i) ? (keepDims ? [1] : []) : [n],
        ),
        dtype: x!.dtype,
      };
    },
  });
}
for (const name of ["ArgMax", "ArgMin"]) {
  defineKernel(name, {
    inputs: ["x"],
    attributes: ({ axis }, [x]) => ({ axis: axisOf(axis, x!) }),
    infer: ([x], { axis }) => {
      checkTypes(name, [x], "float32", "int32");
      return { shape: x!.shape.filter((_, i) => i !== axis), dtype: "int32" };
    },
  });
}
defineKernel("Cumsum", {
  inputs: ["x"],
  attributes: ({ axis, exclusive, reverse }, [x]) => ({
    axis: axisOf(axis, x!),
    exclusive: exclusive === true,
    reverse: reverse === true,
  }),
  infer: (inputs, attributes) => {
    checkTypes("Cumsum", inputs, "float32", "int32");
    return like(inputs, attributes);
  },
});
for (const [name, key] of [
  ["Softmax", "dim"],
  ["LogSoftmax", "axis"],
] as const) {
  defineKernel(name, {
    inputs: ["logits"],
    attributes: (attributes, [x]) => ({ axis: axisOf(attributes[key], x!) }),
    infer: (inputs, attributes) => {
      checkTypes(name, inputs, "float32");
      return like(inputs, attributes);
    },
  });
}
/** The k largest along the last axis, in descending order, with their places. */
defineKernel("TopK", {
  inputs: ["x"],
  attributes: ({ k }) => ({ k }),
  infer: ([x], { k }) => {
    checkTypes("Topk", [x], "float32", "int32");
    const count = k as number;
    check(count >= 1, () => `tf.topk: expected k of at least 1, got ${count}`);
    const shape = [...x!.shape.slice(0, -1), count];
    return [
      { shape, dtype: x!.dtype },
      { shape, dtype: "int32" },
    ] satisfies Value[];
  },
});
