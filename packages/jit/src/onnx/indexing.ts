/** Operations that pick or place elements by numbers that are tensors themselves. */
import { sizeOf } from "@aligntok/core";
import type { Node } from "../graph/graph.ts";
import { elementTypes, type OnnxBuilder } from "./builder.ts";
import type { LoweringTable } from "./lower.ts";

export const indexing: LoweringTable = {
  GatherV2: ({ attributes: { axis } }, [x, index], builder) =>
    builder.add("Gather", [x, index], { axis: axis as number }),
  GatherNd: (_, [x, indices], builder) =>
    builder.add("GatherND", [x, builder.add("Cast", [indices], { to: elementTypes.int64 })]),
  ScatterNd: (node, [indices, updates], builder) => {
    const { shape, dtype } = node.outputs[0]!;
    const zeros = builder.add("Expand", [builder.scalar(0, dtype), builder.ints(shape)]);
    return scatter(node, [zeros, indices!, updates!], { reduction: "add", builder });
  },
  TensorScatterUpdate: (node, inputs, builder) =>
    scatter(node, inputs as [string, string, string], { reduction: "none", builder }),
  OneHot: ({ attributes, inputs, outputs }, [indices], builder) => {
    const { depth, onValue, offValue } = attributes as {
      depth: number;
      onValue?: number;
      offValue?: number;
    };
    // ONNX Runtime has few combinations of types for it: int64 indices with float values is one.
    const values = builder.constant(Float32Array.of(offValue ?? 0, onValue ?? 1), {
      shape: [2],
      dtype: "float32",
    });
    // ONNX counts negative indices from the end; tfjs has no such class, and neither has `depth`.
    const wide = builder.add("Where", [
      builder.add("Less", [indices, builder.scalar(0, "int32")]),
      builder.ints([depth]),
      builder.add("Cast", [indices], { to: elementTypes.int64 }),
    ]);
    // It takes no scalar.
    const scalar = inputs[0]!.shape.length === 0;
    const vector = scalar ? builder.add("Reshape", [wide, builder.ints([1])]) : wide;
    const rows = builder.add("OneHot", [vector, builder.ints([depth]), values], { axis: -1 });
    const picked = scalar ? builder.add("Reshape", [rows, builder.ints([depth])]) : rows;
    const dtype = outputs[0]!.dtype;
    return dtype === "float32"
      ? picked
      : builder.add("Cast", [picked], { to: elementTypes[dtype] });
  },
};

/**
 * Updates of whole rows, as ScatterElements, which works in order: ONNX Runtime's ScatterND, which would do it alone,
 * loses sums where several threads meet at the same row.
 */
function scatter(
  { inputs, outputs: [y] }: Node,
  [data, indices, updates]: readonly [string, string, string],
  { reduction, builder }: { readonly reduction: "none" | "add"; readonly builder: OnnxBuilder },
): string {
  const [indexShape, updateShape] = inputs.slice(-2).map((value) => value!.shape);
  const depth = indexShape!.at(-1)!;
  const [outer, inner] = [y!.shape.slice(0, depth), y!.shape.slice(depth)];
  const [rows, width] = [sizeOf(outer), sizeOf(inner)];
  const count = sizeOf(indexShape!.slice(0, -1));
  // The number of each row: its place along every axis, times how many rows lie in a step there.
  const strides = outer.map((_, i) => sizeOf(outer.slice(i + 1)));
  const scaled = builder.add("Mul", [
    builder.add("Cast", [indices], { to: elementTypes.int64 }),
    builder.ints(strides),
  ]);
  const sums = builder.add("ReduceSum", [scaled, builder.ints([-1])], { keepdims: 0 });
  const numbers = builder.add("Reshape", [sums, builder.ints([count, 1])]);
  const places =
    width === 1 ? numbers : builder.add("Expand", [numbers, builder.ints([count, width])]);
  const flat = (x: string, n: number) => builder.add("Reshape", [x, builder.ints([n, width])]);
  const placed = builder.add(
    "ScatterElements",
    [flat(data, rows), places, flat(updates, sizeOf(updateShape!) / width)],
    { axis: 0, reduction },
  );
  return builder.add("Reshape", [placed, builder.ints(y!.shape)]);
}
