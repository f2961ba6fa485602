/** Elements in another order than this package's: other strides, other byte order. */
import { type DType, type DTypeData, zeros } from "@aligntok/core";

/** Strides, in elements, of a row-major array. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  }
  return strides;
}

/** A row-major copy of the elements that `strides` reach from the first one of `data`. */
export function gatherStrided<D extends DType>(
  data: DTypeData[D],
  { dtype, shape, strides }: { dtype: D; shape: readonly number[]; strides: readonly number[] },
): DTypeData[D] {
  const out = zeros(shape, dtype).data as Float64Array;
  const all = data as Float64Array; // stands for any element type
  const width = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 1;
  const counters = shape.slice(0, -1).map(() => 0);
  let from = 0;
  for (let at = 0; at < out.length; at += width) {
    for (let i = 0; i < width; i++) out[at + i] = all[from + i * step]!;
    // the next row: like an odometer, from the axis that turns fastest
    for (let axis = counters.length - 1; axis >= 0; axis--) {
      counters[axis]!++;
      from += strides[axis]!;
      if (counters[axis]! < shape[axis]!) break;
      from -= counters[axis]! * strides[axis]!;
      counters[axis] = 0;
    }
  }
  return out as unknown as DTypeData[D];
}

/** Reverses the bytes of each element, in place. */
export function swapBytes(bytes: Uint8Array, width: number): Uint8Array {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) view.swap16();
  else if (width === 4) view.swap32();
  else if (width === 8) view.swap64();
  return bytes;
}
