/** Operations along an axis: sums, extremes, softmax. */
import { elementTypes } from "./builder.ts";
import type { Lowering, LoweringTable } from "./lower.ts";

const reduce =
  (op: string): Lowering =>
  ({ attributes }, [x], builder) =>
    builder.add(op, [x, builder.ints(attributes.axes as number[])], {
      keepdims: attributes.keepDims ? 1 : 0,
    });

/** Reductions of truth values, which ONNX has only for numbers. */
const reduceBool =
  (op: string): Lowering =>
  (node, [x], builder) => {
    const numbers = builder.add("Cast", [x], { to: elementTypes.int32 });
    return builder.add("Cast", [reduce(op)(node, [numbers], builder) as string], {
      to: elementTypes.bool,
    });
  };

const arg =
  (op: string): Lowering =>
  ({ attributes }, [x], builder) => {
    const index = builder.add(op, [x], { axis: attributes.axis as number, keepdims: 0 });
    return builder.add("Cast", [index], { to: elementTypes.int32 });
  };

export const reductions: LoweringTable = {
  Sum: reduce("ReduceSum"),
  Mean: reduce("ReduceMean"),
  Max: reduce("ReduceMax"),
  Min: reduce("ReduceMin"),
  Prod: reduce("ReduceProd"),
  SumSquare: reduce("ReduceSumSquare"),
  All: reduceBool("ReduceMin"),
  Any: reduceBool("ReduceMax"),
  ArgMax: arg("ArgMax"),
  ArgMin: arg("ArgMin"),
  Cumsum: ({ attributes: { axis, exclusive, reverse } }, [x], builder) =>
    builder.add("CumSum", [x, builder.scalar(axis as number, "int32")], {
      exclusive: exclusive ? 1 : 0,
      reverse: reverse ? 1 : 0,
    }),
  TopK: ({ attributes }, [x], builder) => {
    const values = builder.add(
      "TopK",
      [x, builder.ints([attributes.k as number])],
      { axis: -1, largest: 1, sorted: 1 },
      { outputs: 2 },
    );
    return [values, builder.add("Cast", [`${values}_1`], { to: elementTypes.int32 })];
  },
  Softmax: ({ attributes }, [x], builder) =>
    builder.add("Softmax", [x], { axis: attributes.axis as number }),
  LogSoftmax: ({ attributes }, [x], builder) =>
    builder.add("LogSoftmax", [x], { axis: attributes.axis as number }),
};
