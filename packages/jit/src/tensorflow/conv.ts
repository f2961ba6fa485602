/**
 * Convolution and its gradients on TensorFlow's own kernels. Those of the CPU take images as (N, H, W, C) and
 * weights as (kh, kw, I, O) only: `layout.ts` has transposed both.
 */
import type { ConvAttributes } from "../primitives/conv.ts";
import type { TensorFlowBuilder } from "./builder.ts";
import type { Lowering, LoweringTable } from "./lower.ts";

type Image = readonly [number, number, number, number];
type Product = (a: string, b: string) => string;

const float = { T: { type: "float32" } } as const;

const convolve: Lowering = ({ attributes, inputs: [, weight] }, [x, filter, bias], builder) => {
  const a = attributes as ConvAttributes;
  const wide = spread(filter!, weight!.shape as Image, a.dilation, builder);
  const y = inGroups([x!, wide], a.groups, builder, (image, kernel) =>
    builder.product("Conv2D", [image, kernel], windowOf(a)),
  );
  return bias ? builder.add("BiasAdd", [y, bias]) : y;
};

const inputGradient: Lowering = ({ attributes, inputs, outputs: [dx] }, [dy, filter], builder) => {
  const a = attributes as ConvAttributes;
  const wide = spread(filter!, inputs[1]!.shape as Image, a.dilation, builder);
  const [n, h, w, c] = dx!.shape as Image;
  const size = builder.ints([n, h, w, c / a.groups]);
  return inGroups([dy!, wide], a.groups, builder, (slope, kernel) =>
    builder.product("Conv2DBackpropInput", [size, kernel, slope], windowOf(a)),
  );
};

const weightGradient: Lowering = ({ attributes, outputs: [dw] }, [dy, x], builder) => {
  const a = attributes as ConvAttributes;
  const [kh, kw, i, o] = dw!.shape as Image;
  const [height, width] = [a.dilation * (kh - 1) + 1, a.dilation * (kw - 1) + 1];
  const size = builder.ints([height, width, i, o / a.groups]);
  const wide = inGroups([dy!, x!], a.groups, builder, (slope, image) =>
    builder.product("Conv2DBackpropFilter", [image, size, slope], windowOf(a)),
  );
  return a.dilation === 1
    ? wide
    : builder.add(
        "StridedSlice",
        [
          wide,
          builder.ints([0, 0, 0, 0]),
          builder.ints([height, width, i, o]),
          builder.ints([a.dilation, a.dilation, 1, 1]),
        ],
        { Index: { type: "int32" } },
      );
};

export const convolutions: LoweringTable = {
  NhwcConv2d: convolve,
  NhwcConv2dInputGradient: inputGradient,
  NhwcConv2dWeightGradient: weightGradient,
};

/** Strides and padding. Dilation is in the weights: TensorFlow's gradients on the CPU do not know it. */
function windowOf({ stride, padding: [top, left, bottom, right] }: ConvAttributes) {
  return {
    strides: [1, stride, stride, 1],
    padding: "EXPLICIT",
    explicit_paddings: [0, 0, top, bottom, left, right, 0, 0],
    data_format: "NHWC",
  };
}

/** A dilated kernel as a larger one with zeros between the taps: (kh, kw, I, O) to (d (kh-1) + 1, d (kw-1) + 1, I, O). */
function spread(
  filter: string,
  [kh, kw, i, o]: Image,
  dilation: number,
  builder: TensorFlowBuilder,
): string {
  if (dilation === 1) return filter;
  const gap = dilation - 1;
  const taps = builder.add("Reshape", [filter, builder.ints([kh, 1, kw, 1, i * o])]);
  const pads = Int32Array.of(0, 0, 0, gap, 0, 0, 0, gap, 0, 0);
  const spaced = builder.add("Pad", [
    taps,
    builder.constant(pads, { shape: [5, 2], dtype: "int32" }),
  ]);
  const whole = builder.add("Reshape", [
    spaced,
    builder.ints([kh * dilation, kw * dilation, i, o]),
  ]);
  const size = builder.ints([dilation * (kh - 1) + 1, dilation * (kw - 1) + 1, i, o]);
  return builder.add("Slice", [whole, builder.ints([0, 0, 0, 0]), size], {
    Index: { type: "int32" },
  });
}

/** `one` for each group of channels, the last axis of both sides and of the result. */
function inGroups(
  [a, b]: readonly [string, string],
  groups: number,
  builder: TensorFlowBuilder,
  one: Product,
): string {
  if (groups === 1) return one(a, b);
  const split = (x: string) => {
    const first = builder.add(
      "Split",
      [builder.scalar(3, "int32"), x],
      { num_split: groups, ...float },
      {
        outputs: groups,
        dtype: "float32",
      },
    );
    return Array.from({ length: groups }, (_, i) => (i === 0 ? first : `${first}:${i}`));
  };
  const bs = split(b);
  const parts = split(a).map((part, i) => one(part, bs[i]!));
  return builder.add("ConcatV2", [...parts, builder.scalar(3, "int32")], { N: groups });
}
