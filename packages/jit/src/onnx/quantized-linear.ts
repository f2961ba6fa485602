/** Matrix products of 8-bit numbers: uint8 by int8, which x86 has instructions for; int8 by int8 is 20 times as slow. */
import { sizeOf } from "@aligntok/core";
import type { QuantizedLinear, RowRange } from "../passes/quantize.ts";
import { MICROSOFT, type OnnxBuilder } from "./builder.ts";
import type { LoweringTable } from "./lower.ts";

export const quantizedLinear: LoweringTable = {
  QuantizedLinear: ({ attributes, inputs: [x], outputs: [y] }, [input], builder) => {
    const { rows, weight, bias, factor } = attributes as unknown as QuantizedLinear;
    const [out, depth] = weight.shape as [number, number];
    const count = sizeOf(x!.shape) / depth;
    // layers that take the same rows share them
    const [steps, rowScale] = builder.once(`rows of ${input}`, () =>
      quantizeRows(input!, { count, depth, ...rows }, builder),
    ) as [string, string];
    const { int8, scale } = quantizeWeight(weight.data, out, builder.largestWeight);
    const times = factor
      ? (values: Float32Array) => values.map((v, o) => v * factor.data[o]!)
      : undefined;
    const vector = (values: Float32Array) =>
      builder.constant(times?.(values) ?? values, { shape: [out], dtype: "float32" });
    // A constant, and the transpose of one, is laid out for the processor once.
    const matrix = builder.add("Transpose", [
      builder.constant(int8, { shape: [out, depth], dtype: "int8" }),
    ]);
    const product = builder.add(
      "MatMulIntegerToFloat",
      [steps, matrix, builder.scalar(1), vector(scale), builder.scalar(rows.zero, "uint8")],
      {},
      { domain: MICROSOFT },
    );
    const scaled = builder.add("Mul", [product, rowScale]);
    const sum = bias ? builder.add("Add", [scaled, vector(bias.data)]) : scaled;
    return builder.add("Reshape", [sum, builder.ints(y!.shape)]);
  },
};

/**
 * uint8 steps `x / scale + zero`, and the scale of each row, which keeps the row within 0 to 255. A row of
 * zeros has the scale 0: what its quotients become is multiplied by it.
 */
function quantizeRows(
  x: string,
  { count, depth, zero, minimum }: RowRange & { readonly count: number; readonly depth: number },
  builder: OnnxBuilder,
): readonly string[] {
  const flat = builder.add("Reshape", [x, builder.ints([count, depth])]);
  const magnitudes = minimum === undefined ? builder.add("Abs", [flat]) : flat;
  const largest = builder.add("ReduceMax", [magnitudes, builder.ints([1])], { keepdims: 1 });
  const above = builder.add("Mul", [largest, builder.scalar(1 / (255 - zero))]);
  const scale = minimum ? builder.add("Max", [above, builder.scalar(-minimum / zero)]) : above;
  const zeros = builder.constant(new Uint8Array(count).fill(zero), {
    shape: [count],
    dtype: "uint8",
  });
  const scales = builder.add("Reshape", [scale, builder.ints([count])]);
  return [builder.add("QuantizeLinear", [flat, scales, zeros], { axis: 0 }), scale];
}

/** The nearest `int8 * scale`, with one scale a row, which keeps it within -most to most. */
function quantizeWeight(
  weight: Float32Array,
  out: number,
  most: number,
): { readonly int8: Int8Array; readonly scale: Float32Array } {
  const depth = weight.length / out;
  const int8 = new Int8Array(weight.length);
  const scale = new Float32Array(out);
  for (let o = 0; o < out; o++) {
    const end = (o + 1) * depth;
    let largest = 0;
    for (let i = o * depth; i < end; i++) {
      const magnitude = Math.abs(weight[i]!);
      if (magnitude > largest) largest = magnitude;
    }
    scale[o] = largest / most;
    const inverse = largest > 0 ? most / largest : 0;
    for (let i = o * depth; i < end; i++) int8[i] = Math.round(weight[i]! * inverse);
  }
  return { int8, scale };
}
