import { type NdArray, rows, zeros } from "@aligntok/core";

/** Rows of an array by index, copied. */
export function take<D extends "uint8" | "float32">(
  array: NdArray<D>,
  picks: readonly number[],
): NdArray<D> {
  const taken = zeros([picks.length, ...array.shape.slice(1)], array.dtype);
  picks.forEach((from, to) => {
    (rows(taken, to, to + 1).data as Float32Array).set(
      rows(array, from, from + 1).data as Float32Array,
    );
  });
  return taken;
}
