import { AlignTokError, check } from "./error.ts";
import { float8ToFloat32 } from "./float8.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "./half.ts";

/** Typed array that holds each dtype. float16, bfloat16 and float8 are kept as their bit patterns, bool as 0 or 1. */
export interface DTypeData {
  float64: Float64Array;
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  float8_e4m3fn: Uint8Array;
  float8_e5m2: Uint8Array;
  float8_e4m3fnuz: Uint8Array;
  float8_e5m2fnuz: Uint8Array;
  float8_e8m0fnu: Uint8Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int16: Int16Array;
  int8: Int8Array;
  uint64: BigUint64Array;
  uint32: Uint32Array;
  uint16: Uint16Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

export type DType = keyof DTypeData;

type DataConstructor<D extends DType> = {
  new (length: number): DTypeData[D];
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): DTypeData[D];
  readonly BYTES_PER_ELEMENT: number;
};

const constructors: { readonly [D in DType]: DataConstructor<D> } = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float8_e4m3fn: Uint8Array,
  float8_e5m2: Uint8Array,
  float8_e4m3fnuz: Uint8Array,
  float8_e5m2fnuz: Uint8Array,
  float8_e8m0fnu: Uint8Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as { readonly [D in DType]: DataConstructor<D> };

export const dtypes = Object.keys(constructors) as readonly DType[];

/** A dense, row-major array in host memory, reclaimed by the garbage collector. */
export interface NdArray<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeData[D];
  /** Where the same bytes lie in a file that an engine may map instead of taking `data`. */
  readonly source?: FileRange;
}

/** Bytes of a file, for as long as nobody writes to it. */
export interface FileRange {
  /** Absolute, with links resolved. */
  readonly path: string;
  /** In bytes from the start of the file. */
  readonly offset: number;
  /** When the file was written, in milliseconds as `stat` gives them; another time means other bytes. */
  readonly modified: number;
}

/** Float32 arrays by name: the weights of a model under its upstream checkpoint's keys. */
export type Parameters = Readonly<Record<string, NdArray<"float32">>>;

/** Number of elements of a shape; 1 for a scalar (`[]`). */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

export function bytesPerElement(dtype: DType): number {
  return constructors[dtype].BYTES_PER_ELEMENT;
}

/** Bytes that the elements of an array take, without looking at its data. */
export function byteLength({ dtype, shape }: Pick<NdArray, "dtype" | "shape">): number {
  return sizeOf(shape) * bytesPerElement(dtype);
}

/** Zeros of a shape. */
export function zeros<D extends DType = "float32">(
  shape: readonly number[],
  dtype: D = "float32" as D,
): NdArray<D> {
  return { dtype, shape: [...shape], data: new constructors[dtype](sizeOf(shape)) };
}

/**
 * Wraps data without copying it.
 *
 * @throws AlignTokError `bad-input` when the number of elements is not the shape's product.
 */
export function ndarray<D extends DType = "float32">(
  data: DTypeData[D],
  shape: readonly number[],
  dtype: D = "float32" as D,
): NdArray<D> {
  check(
    data.length === sizeOf(shape),
    () => `ndarray: expected ${sizeOf(shape)} elements for shape [${shape}], got ${data.length}`,
  );
  return { dtype, shape: [...shape], data };
}

/** Views bytes as an array of `dtype`, without copying; the byte offset must be a multiple of the element size. */
export function viewBytes<D extends DType>(
  bytes: Uint8Array,
  shape: readonly number[],
  dtype: D,
): NdArray<D> {
  const data = new constructors[dtype](bytes.buffer, bytes.byteOffset, sizeOf(shape));
  return { dtype, shape: [...shape], data };
}

/** The same elements under another shape, without copying. */
export function reshape<D extends DType>(array: NdArray<D>, shape: readonly number[]): NdArray<D> {
  return ndarray(array.data, shape, array.dtype);
}

/** Rows `start` (inclusive) to `end` (exclusive) of the first dimension, without copying. */
export function rows<D extends DType>(array: NdArray<D>, start: number, end: number): NdArray<D> {
  const [count = 0, ...rest] = array.shape;
  check(
    start >= 0 && start <= end && end <= count,
    () => `rows: expected 0 <= start <= end <= ${count}, got ${start} and ${end}`,
  );
  const width = sizeOf(rest);
  const data = array.data.subarray(start * width, end * width) as DTypeData[D];
  return { dtype: array.dtype, shape: [end - start, ...rest], data };
}

/** Joins arrays of one dtype along the first dimension. */
export function concatRows<D extends DType>(arrays: readonly NdArray<D>[]): NdArray<D> {
  const first = arrays[0];
  check(first, "concatRows: expected at least one array, got none");
  const rest = first.shape.slice(1);
  for (const { shape, dtype } of arrays) {
    check(
      dtype === first.dtype && shape.slice(1).join() === rest.join(),
      () => `concatRows: expected ${first.dtype} [*,${rest}], got ${dtype} [${shape}]`,
    );
  }
  const total = arrays.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const joined = zeros([total, ...rest], first.dtype);
  let offset = 0;
  for (const { data } of arrays) {
    (joined.data as Float32Array).set(data as Float32Array, offset);
    offset += data.length;
  }
  return joined;
}

/** Any real dtype as float32; float32 arrays are returned as they are, others are converted to a new array. */
export function toFloat32(array: NdArray): NdArray<"float32"> {
  // before `data` is looked at, which may read a file
  if (array.dtype === "float32") return array as NdArray<"float32">;
  const { dtype, data, shape } = array;
  switch (dtype) {
    case "float16":
      return ndarray(float16ToFloat32(data as Uint16Array), shape);
    case "bfloat16":
      return ndarray(bfloat16ToFloat32(data as Uint16Array), shape);
    case "float8_e4m3fn":
    case "float8_e5m2":
    case "float8_e4m3fnuz":
    case "float8_e5m2fnuz":
    case "float8_e8m0fnu":
      return ndarray(float8ToFloat32(data as Uint8Array, dtype), shape);
    case "int64":
    case "uint64":
      return ndarray(Float32Array.from(data as BigInt64Array, Number), shape);
    default:
      return ndarray(Float32Array.from(data as Float64Array), shape);
  }
}

/** The parameter of that name. @throws AlignTokError `not-found` naming the key. */
export function parameter(parameters: Parameters, name: string): NdArray<"float32"> {
  const found = parameters[name];
  if (!found) {
    throw new AlignTokError(
      "not-found",
      `parameter ${name}: not among the ${Object.keys(parameters).length} loaded. check that the file belongs to this model`,
    );
  }
  return found;
}
