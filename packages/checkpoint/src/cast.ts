import {
  AlignTokError,
  check,
  type DType,
  float32ToBfloat16,
  float32ToFloat16,
  type NdArray,
  ndarray,
  toFloat32,
} from "@aligntok/core";
import { lazyArray, readData } from "./lazy-array.ts";

/** From float32, and the first magnitude that rounds to infinity; above float32's range float64 is infinite already. */
const casts = {
  float32: { convert: (values: Float32Array) => values, limit: Number.POSITIVE_INFINITY },
  float16: { convert: float32ToFloat16, limit: 65520 },
  bfloat16: { convert: float32ToBfloat16, limit: (2 - 2 ** -8) * 2 ** 127 },
} as const;

/** What floating-point tensors may be converted to. */
export type FloatDType = keyof typeof casts;

/**
 * Floating-point tensors in another dtype, each converted when its data is read and not before; all others as they
 * are. Writing the result holds one tensor at a time.
 *
 * @throws AlignTokError `bad-input` for another dtype; where data is read, for a finite number that the dtype cannot hold.
 */
export function castFloats(
  tensors: Readonly<Record<string, NdArray>>,
  dtype: FloatDType,
): Record<string, NdArray> {
  check(
    Object.hasOwn(casts, dtype),
    () =>
      `castFloats dtype: expected ${Object.keys(casts).join(", ")}, got ${dtype}. choose one of them`,
  );
  return Object.fromEntries(
    Object.entries(tensors).map(([name, array]) => [
      name,
      isFloat(array.dtype) && array.dtype !== dtype ? castArray(name, array, dtype) : array,
    ]),
  );
}

function isFloat(dtype: DType): boolean {
  return /^b?float/.test(dtype);
}

function castArray(name: string, array: NdArray, dtype: FloatDType): NdArray {
  const { dtype: from, shape } = array;
  const { convert, limit } = casts[dtype];
  const read = () => {
    const { data } = toFloat32(ndarray(readData(array), shape, from));
    const lost = data.find((value) => Math.abs(value) >= limit && Number.isFinite(value));
    if (lost !== undefined) {
      throw new AlignTokError(
        "bad-input",
        `tensor ${name}: expected numbers below ${limit} in magnitude for ${dtype}, got ${lost}. choose another dtype`,
      );
    }
    return convert(data);
  };
  return lazyArray<DType>(dtype, shape, { read });
}
