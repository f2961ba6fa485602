/**
 * Convolution, and its gradients in terms of operations that ONNX Runtime runs at matrix-product speed: ONNX
 * itself has neither.
 */
import type { ConvAttributes } from "../primitives/conv.ts";
import { addConv } from "./blocked-conv.ts";
import { MICROSOFT, type OnnxBuilder } from "./builder.ts";
import type { Lowering } from "./lower.ts";

type Image = readonly [number, number, number, number];

export const lowerConv: Lowering = (
  { attributes, inputs: [, weightValue], outputs: [y] },
  inputs,
  builder,
) => {
  const { stride, padding, dilation, groups } = attributes as ConvAttributes;
  const weight = weightValue!.shape;
  const onnxAttributes = {
    group: groups,
    kernel_shape: weight.slice(2),
    strides: [stride, stride],
    pads: [...padding],
    dilations: [dilation, dilation],
  };
  return addConv({ inputs, weight, output: y!, attributes: onnxAttributes }, builder);
};

/**
 * dx. With stride 1 it is itself a convolution, of dy with the weight turned by 180 degrees and its
 * channels swapped, which is faster than the general transposed convolution.
 */
export const lowerInputGradient: Lowering = (
  { attributes, inputs: [dyValue, weightValue], outputs: [dx] },
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
    const turnedWeight = turned(weight!, weightValue!.shape as Image, groups, builder);
    const attributes = {
      group: groups,
      kernel_shape: [kh, kw],
      strides: [1, 1],
      pads: mirrored,
      dilations: [dilation, dilation],
    };
    const turnedShape = [shape[1], dyValue!.shape[1]! / groups, kh, kw];
    return addConv(
      { inputs: [dy, turnedWeight], weight: turnedShape, output: dx!, attributes },
      builder,
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
  const taps = kh * kw;
  const flat = flatten(weight, [o * i, taps], builder);
  const reversed = Array.from({ length: taps }, (_, tap) => taps - 1 - tap);
  // A product with a permutation is several times as fast as a slice with steps of -1.
  const mirrored =
    taps === 1 ? flat : builder.add("MatMul", [flat, permutation(reversed, builder)]);
  const swapped = builder.add(
    "Transpose",
    [flatten(mirrored, [groups, o / groups, i, taps], builder)],
    { perm: [0, 2, 1, 3] },
  );
  return flatten(swapped, [groups * i, o / groups, kh, kw], builder);
}

/** The matrix whose product on the right moves column `from[i]` to column i. */
function permutation(from: readonly number[], builder: OnnxBuilder): string {
  const n = from.length;
  const matrix = new Float32Array(n * n);
  from.forEach((row, column) => {
    matrix[row * n + column] = 1;
  });
  return builder.constant(matrix, { shape: [n, n], dtype: "float32" });
}

/**
 * dw. Copies of x shifted by each tap of the kernel, stacked as channels, against dy, summed over images and
 * pixels: matrix products over pixels. Where the images are large beside dw, one product an image and the sum of
 * them; otherwise one product for all, with the channels brought before the images.
 *
 * With stride 1 the shifts are shared between both sides: x gets the kw horizontal ones and dy the kh vertical
 * ones, kw + kh copies in place of kw * kh. Both lie in images of the same padded width, so that a shift is one
 * of the whole memory; what it brings across the edge of a row or an image meets zeros of the other side.
 */
export const lowerWeightGradient: Lowering = (
  { attributes, inputs: [dyValue, xValue], outputs: [dw] },
  [dy, x],
  builder,
) => {
  const { stride, padding, dilation, groups } = attributes as ConvAttributes;
  const [n, c, h, w] = xValue!.shape as Image;
  const [, o, oh, ow] = dyValue!.shape as Image;
  const [, , kh, kw] = dw!.shape as Image;
  const [top, left, bottom, right] = padding;
  const [ph, pw] = [h + top + bottom, w + left + right];
  const perImage = groups === 1 && 8 * kh * kw * o * c <= oh * ow * (kh * o + kw * c); // measured
  const [batches, images] = perImage ? [n, 1] : [1, n];
  const arranged = (value: string) => (perImage ? value : channelsFirst(value, builder));
  const source = pad(arranged(x!), padding, builder); // (N, C, ph, pw) or (C, N, ph, pw)
  const slope = arranged(dy!); // (N, O, oh, ow) or (O, N, oh, ow)

  if (stride === 1) {
    const [high, wide] = [dilation * (kh - 1), dilation * (kw - 1)];
    const framed = pad(slope, [0, wide, high, 0], builder); // ph by pw, like x
    const pixels = images * ph * pw;
    return product(
      delays(framed, { batches, length: o * pixels, count: kh, step: dilation * pw }, builder),
      delays(source, { batches, length: c * pixels, count: kw, step: dilation }, builder),
      // The further x is delayed, the further left the tap.
      { rows: kh, columns: kw, pixels, tapAt: (i, j) => i * kw + kw - 1 - j },
    );
  }
  const shifted: string[] = [];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const [y0, x0] = [i * dilation, j * dilation];
      const ends = [
        Math.min(ph, y0 + (oh - 1) * stride + 1),
        Math.min(pw, x0 + (ow - 1) * stride + 1),
      ];
      shifted.push(slice(source, [2, 3], [y0, x0], ends, builder, stride));
    }
  }
  return product(slope, concat(shifted, perImage ? 1 : 0, builder), {
    rows: 1,
    columns: kh * kw,
    pixels: images * oh * ow,
    tapAt: (_, j) => j,
  });

  /** The sum over pixels of (rows, O, pixels) times (columns, C, pixels), for each batch, as (O, C / groups, kh, kw). */
  function product(
    a: string,
    b: string,
    {
      rows,
      columns,
      pixels,
      tapAt,
    }: {
      readonly rows: number;
      readonly columns: number;
      readonly pixels: number;
      /** The tap that row i and column j make. */
      readonly tapAt: (i: number, j: number) => number;
    },
  ): string {
    const [og, cg] = [o / groups, c / groups];
    const split = flatten(tapsFirst(), [groups, rows, og, columns, cg], builder);
    const stacked = builder.add("Transpose", [split], { perm: [1, 3, 0, 2, 4] });
    const taps = Array.from({ length: rows * columns }, (_, i) =>
      tapAt(Math.floor(i / columns), i % columns),
    );
    // As a product this transposition is several times as fast, and puts the taps in order, too.
    const ordered = builder.add(
      "Gemm",
      [flatten(stacked, [taps.length, o * cg], builder), permutation(taps, builder)],
      { transA: 1 },
    );
    return flatten(ordered, dw!.shape, builder);

    function tapsFirst(): string {
      if (groups === 1 && batches === 1) {
        const matrices = [
          flatten(a, [rows * o, pixels], builder),
          flatten(b, [columns * c, pixels], builder),
        ];
        return builder.add("Gemm", matrices, { transB: 1 });
      }
      const matrices =
        groups === 1
          ? [
              flatten(a, [batches, rows * o, pixels], builder),
              flatten(b, [batches, columns * c, pixels], builder),
            ]
          : [ofGroups(a, rows, og), ofGroups(b, columns, cg)];
      const products = builder.add("FusedMatMul", matrices, { transB: 1 }, { domain: MICROSOFT });
      return groups === 1
        ? builder.add("ReduceSum", [products, builder.ints([0])], { keepdims: 0 })
        : products;
    }

    function ofGroups(x: string, count: number, size: number): string {
      const parts = flatten(x, [count, groups, size, pixels], builder);
      const first = builder.add("Transpose", [parts], { perm: [1, 0, 2, 3] });
      return flatten(first, [groups, count * size, pixels], builder);
    }
  }
};

/**
 * `count` copies of each batch in a row, each delayed by `step` elements more than the one before: copies with
 * `step` zeros between them, read with the length of one.
 */
function delays(
  x: string,
  {
    batches,
    length,
    count,
    step,
  }: {
    readonly batches: number;
    readonly length: number;
    readonly count: number;
    readonly step: number;
  },
  builder: OnnxBuilder,
): string {
  if (count === 1) return x;
  const flat = flatten(x, [batches, length], builder);
  const gap = builder.add("Expand", [builder.scalar(0), builder.ints([batches, step])]);
  const parts = Array.from({ length: count - 1 }, () => [flat, gap]).flat();
  const last = slice(flat, [1], [0], [length - (count - 1) * step], builder);
  return concat([...parts, last], 1, builder);
}

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

function concat(parts: readonly string[], axis: number, builder: OnnxBuilder): string {
  return parts.length === 1 ? parts[0]! : builder.add("Concat", parts, { axis });
}

function flatten(x: string, shape: readonly number[], builder: OnnxBuilder): string {
  return builder.add("Reshape", [x, builder.ints(shape)]);
}
