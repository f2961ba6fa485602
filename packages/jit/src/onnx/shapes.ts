/** Operations that only move, repeat or pick elements. */
import { AFTER } from "../passes/recompute.ts";
import { elementTypes, type OnnxBuilder } from "./builder.ts";
import type { LoweringTable } from "./lower.ts";

/** Far before any first element: how ONNX says "down to and including it", as the end of a reversed slice. */
const BEFORE_FIRST = -(2 ** 53);

export const shapes: LoweringTable = {
  // A reshape to the shape that the value has, which takes a zero from the other value to be known.
  [AFTER]: ({ outputs: [y] }, [x, arrived], builder) => {
    const flat = builder.add("Reshape", [arrived, builder.ints([-1])]);
    const first = builder.add("Slice", [flat, builder.ints([0]), builder.ints([1])]);
    const missing = builder.add("IsNaN", [first]);
    const number = builder.add("Cast", [missing], { to: elementTypes.int64 });
    const zero = builder.add("Mul", [number, builder.ints([0])]);
    return builder.add("Reshape", [x, builder.add("Add", [builder.ints(y!.shape), zero])]);
  },
  Reshape: ({ outputs }, [x], builder) =>
    builder.add("Reshape", [x, builder.ints(outputs[0]!.shape)]),
  ExpandDims: ({ outputs }, [x], builder) =>
    builder.add("Reshape", [x, builder.ints(outputs[0]!.shape)]),
  Transpose: ({ attributes }, [x], builder) =>
    builder.add("Transpose", [x], { perm: attributes.perm as number[] }),
  Concat: ({ attributes }, inputs, builder) =>
    builder.add("Concat", inputs, { axis: attributes.axis as number }),
  Slice: ({ attributes, inputs: [source] }, [x], builder) => {
    const begin = attributes.begin as number[];
    const size = attributes.size as number[];
    const axes = begin.flatMap((_, i) => (size[i] === source!.shape[i] ? [] : [i]));
    if (axes.length === 0) return builder.add("Identity", [x]);
    return builder.add("Slice", [
      x,
      builder.ints(axes.map((i) => begin[i]!)),
      builder.ints(axes.map((i) => begin[i]! + size[i]!)),
      builder.ints(axes),
    ]);
  },
  StridedSlice: ({ attributes }, [x], builder) => {
    const { begin, end, strides } = attributes as Record<"begin" | "end" | "strides", number[]>;
    return builder.add("Slice", [
      x,
      builder.ints(begin),
      builder.ints(end.map((last) => (last < 0 ? BEFORE_FIRST : last))),
      builder.ints(begin.map((_, axis) => axis)),
      builder.ints(strides),
    ]);
  },
  SplitV: ({ attributes }, [x], builder) => {
    const sizes = attributes.sizes as number[];
    const first = builder.add(
      "Split",
      [x, builder.ints(sizes)],
      { axis: attributes.axis as number },
      { outputs: sizes.length },
    );
    return sizes.map((_, i) => (i === 0 ? first : `${first}_${i}`));
  },
  Pack: ({ attributes }, inputs, builder) => {
    const axis = builder.ints([attributes.axis as number]);
    const parts = inputs.map((input) => builder.add("Unsqueeze", [input, axis]));
    return builder.add("Concat", parts, { axis: attributes.axis as number });
  },
  Unpack: ({ attributes, outputs }, [x], builder) => {
    const axis = attributes.axis as number;
    const first = builder.add(
      "Split",
      [x, builder.ints(outputs.map(() => 1))],
      { axis },
      { outputs: outputs.length },
    );
    return outputs.map((_, i) =>
      builder.add("Squeeze", [i === 0 ? first : `${first}_${i}`, builder.ints([axis])]),
    );
  },
  PadV2: ({ attributes, outputs }, [x], builder) => {
    const paddings = attributes.paddings as [number, number][];
    const pads = [...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)];
    const value = builder.scalar(
      (attributes.constantValue as number | undefined) ?? 0,
      outputs[0]!.dtype,
    );
    return builder.add("Pad", [x, builder.ints(pads), value], { mode: "constant" });
  },
  MirrorPad: ({ attributes }, [x], builder) => {
    const paddings = attributes.paddings as [number, number][];
    const pads = [...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)];
    return attributes.mode === "reflect"
      ? builder.add("Pad", [x, builder.ints(pads)], { mode: "reflect" })
      : symmetricPad(x!, paddings, builder);
  },
  Tile: ({ attributes }, [x], builder) =>
    builder.add("Tile", [x, builder.ints(attributes.reps as number[])]),
  BroadcastTo: ({ outputs }, [x], builder) =>
    builder.add("Expand", [x, builder.ints(outputs[0]!.shape)]),
  Reverse: ({ attributes }, [x], builder) => {
    const axes = attributes.axes as number[];
    if (axes.length === 0) return builder.add("Identity", [x]); // a scalar, which is not sliced
    return builder.add("Slice", [
      x,
      builder.ints(axes.map(() => -1)),
      builder.ints(axes.map(() => BEFORE_FIRST)),
      builder.ints(axes),
      builder.ints(axes.map(() => -1)),
    ]);
  },
};

/** Mirrors with the border element repeated, `b a | a b c | c b`: a mode that ONNX's Pad does not have. */
function symmetricPad(
  x: string,
  paddings: readonly [number, number][],
  builder: OnnxBuilder,
): string {
  return paddings.reduce((padded, [before, after], axis) => {
    const flip = (from: number, to: number) =>
      builder.add("Slice", [
        padded,
        builder.ints([from]),
        builder.ints([to]),
        builder.ints([axis]),
        builder.ints([-1]),
      ]);
    const parts = [
      ...(before ? [flip(before - 1, BEFORE_FIRST)] : []),
      padded,
      ...(after ? [flip(-1, -after - 1)] : []),
    ];
    return parts.length === 1 ? padded : builder.add("Concat", parts, { axis });
  }, x);
}
