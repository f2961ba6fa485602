/** Operations that only move, repeat or pick elements. */
import { AFTER } from "../passes/recompute.ts";
import type { Lowering, LoweringTable } from "./lower.ts";

const reshape: Lowering = ({ outputs: [y] }, [x], builder) =>
  builder.add("Reshape", [x!, builder.ints(y!.shape)]);

const flatPaddings = (paddings: unknown) =>
  Int32Array.from((paddings as [number, number][]).flat());

export const shapes: LoweringTable = {
  [AFTER]: (_, [x, arrived], builder) => builder.add("Identity", [x!], {}, { after: [arrived!] }),
  Reshape: reshape,
  ExpandDims: reshape,
  Transpose: ({ attributes }, [x], builder) =>
    builder.add("Transpose", [x!, builder.ints(attributes.perm as number[])]),
  Concat: ({ attributes }, inputs, builder) =>
    builder.add("ConcatV2", [...inputs, builder.scalar(attributes.axis as number, "int32")], {
      N: inputs.length,
    }),
  Slice: ({ attributes }, [x], builder) =>
    builder.add(
      "Slice",
      [x!, builder.ints(attributes.begin as number[]), builder.ints(attributes.size as number[])],
      { Index: { type: "int32" } },
    ),
  StridedSlice: ({ attributes }, [x], builder) => {
    const { begin, end, strides } = attributes as Record<"begin" | "end" | "strides", number[]>;
    // An end before the first element has no number: bits say where there is none.
    const unbounded = end.reduce((mask, last, axis) => mask | (last < 0 ? 1 << axis : 0), 0);
    return builder.add(
      "StridedSlice",
      [x!, builder.ints(begin), builder.ints(end), builder.ints(strides)],
      { Index: { type: "int32" }, end_mask: unbounded },
    );
  },
  SplitV: ({ attributes }, [x], builder) => {
    const sizes = attributes.sizes as number[];
    const first = builder.add(
      "SplitV",
      [x!, builder.ints(sizes), builder.scalar(attributes.axis as number, "int32")],
      { num_split: sizes.length, Tlen: { type: "int32" } },
      { outputs: sizes.length },
    );
    return sizes.map((_, i) => (i === 0 ? first : `${first}:${i}`));
  },
  Pack: ({ attributes }, inputs, builder) =>
    builder.add("Pack", inputs, { N: inputs.length, axis: attributes.axis as number }),
  Unpack: ({ attributes, outputs }, [x], builder) => {
    const first = builder.add(
      "Unpack",
      [x!],
      { num: outputs.length, axis: attributes.axis as number },
      { outputs: outputs.length },
    );
    return outputs.map((_, i) => (i === 0 ? first : `${first}:${i}`));
  },
  PadV2: ({ attributes, outputs: [y] }, [x], builder) => {
    const pads = flatPaddings(attributes.paddings);
    return builder.add("PadV2", [
      x!,
      builder.constant(pads, { shape: [pads.length / 2, 2], dtype: "int32" }),
      builder.scalar((attributes.constantValue as number | undefined) ?? 0, y!.dtype),
    ]);
  },
  MirrorPad: ({ attributes }, [x], builder) => {
    const pads = flatPaddings(attributes.paddings);
    return builder.add(
      "MirrorPad",
      [x!, builder.constant(pads, { shape: [pads.length / 2, 2], dtype: "int32" })],
      { mode: attributes.mode === "reflect" ? "REFLECT" : "SYMMETRIC" },
    );
  },
  Tile: ({ attributes }, [x], builder) =>
    builder.add("Tile", [x!, builder.ints(attributes.reps as number[])]),
  BroadcastTo: ({ outputs: [y] }, [x], builder) =>
    builder.add("BroadcastTo", [x!, builder.ints(y!.shape)]),
  Reverse: ({ attributes }, [x], builder) =>
    builder.add("ReverseV2", [x!, builder.ints(attributes.axes as number[])]),
};
