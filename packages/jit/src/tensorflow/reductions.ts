/** Operations along an axis: sums, extremes, softmax. */
import type { Node } from "../graph/graph.ts";
import type { TensorFlowBuilder } from "./builder.ts";
import type { Lowering, LoweringTable } from "./lower.ts";

const reduce =
  (op: string, typed = true): Lowering =>
  ({ attributes }, [x], builder) =>
    builder.add(
      op,
      [x!, builder.ints(attributes.axes as number[])],
      { keep_dims: attributes.keepDims === true },
      { typed },
    );

const arg =
  (op: string): Lowering =>
  ({ attributes }, [x], builder) =>
    builder.add(
      op,
      [x!, builder.scalar(attributes.axis as number, "int32")],
      { output_type: { type: "int32" } },
      { dtype: "int32" },
    );

/** TensorFlow has softmax over the last axis only. */
const overLastAxis =
  (op: string): Lowering =>
  ({ attributes, outputs: [y] }, [x], builder) => {
    const rank = y!.shape.length;
    const axis = attributes.axis as number;
    if (axis === rank - 1) return builder.add(op, [x!]);
    const swapped = Array.from({ length: rank }, (_, i) => i);
    swapped[axis] = rank - 1;
    swapped[rank - 1] = axis;
    const perm = builder.ints(swapped);
    return builder.add("Transpose", [
      builder.add(op, [builder.add("Transpose", [x!, perm])]),
      perm,
    ]);
  };

export const reductions: LoweringTable = {
  Sum: reduce("Sum"),
  Mean: reduce("Mean"),
  Max: reduce("Max"),
  Min: reduce("Min"),
  Prod: reduce("Prod"),
  SumSquare: (node, [x], builder) => sumOf(node, builder.add("Square", [x!]), builder),
  All: reduce("All", false),
  Any: reduce("Any", false),
  ArgMax: arg("ArgMax"),
  ArgMin: arg("ArgMin"),
  Cumsum: ({ attributes: { axis, exclusive, reverse } }, [x], builder) =>
    builder.add("Cumsum", [x!, builder.scalar(axis as number, "int32")], {
      exclusive: exclusive === true,
      reverse: reverse === true,
    }),
  TopK: ({ attributes }, [x], builder) => {
    const k = builder.scalar(attributes.k as number, "int32");
    const outputs = [builder.typeOf(x!), "int32"] as const;
    const values = builder.add("TopKV2", [x!, k], { sorted: true }, { outputs });
    return [values, `${values}:1`];
  },
  Softmax: overLastAxis("Softmax"),
  LogSoftmax: overLastAxis("LogSoftmax"),
};

function sumOf(node: Node, x: string, builder: TensorFlowBuilder): string {
  return reduce("Sum")(node, [x], builder) as string;
}
