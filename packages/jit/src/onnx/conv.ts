/**
 * Gradients of convolution in terms of operations that ONNX Runtime runs at matrix-product speed.
 * ONNX itself has neither.
 */
import type { Value } from "../graph/graph.ts";
import type { ConvAttributes } from "../primitives/conv.ts";
import { MICROSOFT, type OnnxBuilder } from "./builder.ts";
import type { Lowering } from "./lower.ts";

type Image = readonly [number, number, number, number];

export function onnxConvAttributes(attributes: object, weight: Value) {
  const { stride, padding, dilation, groups } = attributes as ConvAttributes;
  return {
    group: groups,
    kernel_shape: weight.shape.slice(2),
    strides: [stride, stride],
    pads: [...padding],
    dilations: [dilation, dilation],
  };
}

/**
 * dx. With stride 1 it is itself a convolution, of dy with the weight turned by 180 degrees and its
 * channels swapped, which is faster than the general transposed convolution.
 */
export const lowerInputGradient: Lowering = (
  { attributes, inputs: [dyValue, weightValue] },
  [dy, weight],
  builder,
) => {
  const { stride, padding, dilation, groups, shape } = attributes as ConvAttributes & {
    shape: Image;
  };
  const [, , kh, kw] = weightValue!.shape as Image;
  const [top, left, bottom, right] = padding;
  const reach = [dilation * (kh - 1), dilation * (kw - 1)] as const;
  const mirrored = [reach[0] - top, reach[1] - left, reach[0] - bottom, reach[1] - right];
  if (stride === 1 && mirrored.every((pad) => pad >= 0)) {
    return builder.add(
      "Conv",
      [dy, turned(weight!, weightValue!.shape as Image, groups, builder)],
      {
        group: groups,
        kernel_shape: [kh, kw],
        strides: [1, 1],
        pads: mirrored,
        dilations: [dilation, dilation],
      },
    );
  }
  // Rows and columns at the end that no window of the forward pass reached.
  const rest = [2, 3].map(
    (axis, i) =>
      shape[axis]! -
      ((dyValue!.shape[axis]! - 1) * stride - (padding[i]! + padding[i + 2]!) + reach[i]! + 1),
  );
  return builder.add("ConvTranspose", [dy, weight], {
    group: groups,
    kernel_shape: [kh, kw],
    strides: [stride, stride],
    pads: [...padding],
    dilations: [dilation, dilation],
    output_padding: rest,
  });
};

/** (O, I, kh, kw) to (I, O, kh, kw), upside down and left to right; with groups, each of them by itself. */
function turned(
  weight: string,
  [o, i, kh, kw]: Image,
  groups: number,
  builder: OnnxBuilder,
): string {
  let swapped: string;
  if (groups === 1) {
    swapped = builder.add("Transpose", [weight], { perm: [1, 0, 2, 3] });
  } else {
    const split = flatten(weight, [groups, o / groups, i, kh, kw], builder);
    const inner = builder.add("Transpose", [split], { perm: [0, 2, 1, 3, 4] });
    swapped = flatten(inner, [groups * i, o / groups, kh, kw], builder);
  }
  if (kh * kw === 1) return swapped;
  const back = builder.ints([-1, -1]);
  const end = builder.ints([-(2 ** 53), -(2 ** 53)]);
  return builder.add("Slice", [swapped, back, end, builder.ints([2, 3]), back]);
}

/**
 * dw. Copies of x shifted by each tap of the kernel, stacked as channels, against dy, summed over images and
 * pixels: one matrix product once the channels stand first.
 *
 * With stride 1 the shifts are shared between both sides: x gets the kw horizontal ones and dy the kh
 * vertical ones (a row apart in memory), kw + kh copies in place of kw * kh.
 */
export const lowerWeightGradient: Lowering = (
  { attributes, inputs: [dyValue, xValue], outputs: [dw] },
  [dy, x],
  builder,
) => {
  const { stride, padding, dilation, groups } = attributes as ConvAttributes;
  const [n, channels, h, w] = xValue!.shape as Image;
  const [, outputs, oh, ow] = dyValue!.shape as Image;
  const [, , kh, kw] = dw!.shape as Image;
  const [o, c] = [outputs / groups, channels / groups];
  const [top, left, bottom, right] = padding;
  const [ph, pw] = [h + top + bottom, w + left + right];
  const source = pad(channelsFirst(x!, builder), padding, builder); // (C, N, ph, pw)
  const slope = channelsFirst(dy!, builder); // (O, N, oh, ow)

  if (stride === 1) {
    const reach = dilation * (kh - 1);
    const columns = Array.from({ length: kw }, (_, j) =>
      slice(source, [3], [j * dilation], [j * dilation + ow], builder),
    );
    const rows = Array.from({ length: kh }, (_, i) =>
      pad(slope, [i * dilation, 0, reach - i * dilation, 0], builder),
    );
    const length = n * ph * ow;
    return product(
      [concat(rows, builder), kh * o], // (kh O, N, ph, ow)
      [kw === 1 ? columns[0]! : concat(columns, builder), kw * c], // (kw C, N, ph, ow)
      { length, split: [kh, o, kw, c] },
    );
  }
  const taps: string[] = [];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const [y0, x0] = [i * dilation, j * dilation];
      const ends = [
        Math.min(ph, y0 + (oh - 1) * stride + 1),
        Math.min(pw, x0 + (ow - 1) * stride + 1),
      ];
      taps.push(slice(source, [2, 3], [y0, x0], ends, builder, stride));
    }
  }
  return product([slope, o], [concat(taps, builder), kh * kw * c], {
    length: n * oh * ow,
    split: [1, o, kh * kw, c],
  });

  /** a b^T over all images and pixels, whose axes are `split` = (rows of taps, O, columns of taps, C), as (O, C, kh, kw). */
  function product(
    [a, m]: readonly [string, number],
    [b, k]: readonly [string, number],
    { length, split }: { readonly length: number; readonly split: readonly number[] },
  ): string {
    if (groups > 1) return groupProduct(a, b, { length, split });
    const matrices = [flatten(a, [m, length], builder), flatten(b, [k, length], builder)];
    const total = builder.add("Gemm", matrices, { transB: 1 });
    const ordered = builder.add("Transpose", [flatten(total, split, builder)], {
      perm: [1, 3, 0, 2],
    });
    return flatten(ordered, dw!.shape, builder);
  }

  /** The same with the channels of a and b in groups: one product for each, (O, C, kh, kw) with the groups within O. */
  function groupProduct(
    a: string,
    b: string,
    { length, split }: { readonly length: number; readonly split: readonly number[] },
  ): string {
    const [rows, , columns] = split as [number, number, number];
    const matrices = [[a, rows, o] as const, [b, columns, c] as const].map(([x, taps, size]) => {
      const parts = flatten(x, [taps, groups, size, length], builder);
      const first = builder.add("Transpose", [parts], { perm: [1, 0, 2, 3] });
      return flatten(first, [groups, taps * size, length], builder);
    });
    const total = builder.add("FusedMatMul", matrices, { transB: 1 }, { domain: MICROSOFT });
    const ordered = builder.add("Transpose", [flatten(total, [groups, ...split], builder)], {
      perm: [0, 2, 4, 1, 3],
    });
    return flatten(ordered, dw!.shape, builder);
  }
};

function channelsFirst(x: string, builder: OnnxBuilder): string {
  return builder.add("Transpose", [x], { perm: [1, 0, 2, 3] });
}

function pad(x: string, [top, left, bottom, right]: Image, builder: OnnxBuilder): string {
  if (!top && !left && !bottom && !right) return x;
  const pads = builder.ints([0, 0, top, left, 0, 0, bottom, right]);
  return builder.add("Pad", [x, pads], { mode: "constant" });
}

function slice(
  x: string,
  axes: readonly number[],
  starts: readonly number[],
  ends: readonly number[],
  builder: OnnxBuilder,
  step = 1,
): string {
  return builder.add("Slice", [
    x,
    builder.ints(starts),
    builder.ints(ends),
    builder.ints(axes),
    builder.ints(axes.map(() => step)),
  ]);
}

function concat(parts: readonly string[], builder: OnnxBuilder): string {
  return parts.length === 1 ? parts[0]! : builder.add("Concat", parts, { axis: 0 });
}

function flatten(x: string, shape: readonly number[], builder: OnnxBuilder): string {
  return builder.add("Reshape", [x, builder.ints(shape)]);
}
