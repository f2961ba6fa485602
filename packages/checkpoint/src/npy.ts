/** NumPy's `.npy` files: one array. */
import { open, realpath } from "node:fs/promises";
import {
  bytesPerElement,
  type DType,
  type DTypeData,
  type FileRange,
  type NdArray,
  viewBytes,
} from "@aligntok/core";
import { writeChunksAtomic } from "./atomic-file.ts";
import { gatherStrided, rowMajorStrides, swapBytes } from "./element-order.ts";
import { fileError } from "./file-error.ts";
import { lazyArray, mappedArray, readData } from "./lazy-array.ts";
import { formatNpyHeader, longestNpyHeader, type NpyHeader, parseNpyHeader } from "./npy-header.ts";
import { dataBytes, type WriteOptions } from "./write-progress.ts";

/**
 * The array of the bytes of a `.npy` file, versions 1 to 3, in row-major order; it owns its memory. Dtypes: all real
 * numbers of NumPy up to 64 bits, and bool, in either byte order.
 *
 * @throws AlignTokError `bad-format` for damaged bytes; `unsupported` for objects (nothing is executed), text, dates,
 * complex numbers and records
 */
export function parseNpy(bytes: Uint8Array): NdArray {
  return decodeNpy(Uint8Array.from(bytes), "bytes");
}

/** `parseNpy` of a file. @throws AlignTokError as `parseNpy`, and `not-found`, `io` */
export async function readNpy(path: string): Promise<NdArray> {
  const { dtype, shape, data } = await mapNpy(path);
  return { dtype, shape, data };
}

/**
 * The array of a `.npy` file, read when its data is looked at, and mapped where it lies there row-major and
 * little-endian (see `mapSafetensors`).
 */
export async function mapNpy(path: string): Promise<NdArray> {
  const fail = (error: unknown) => {
    throw fileError("read", path, error);
  };
  const resolved = await realpath(path).catch(fail);
  const file = await open(resolved, "r").catch(fail);
  try {
    const { size, mtimeMs: modified } = await file.stat();
    const head = new Uint8Array(Math.min(size, longestNpyHeader));
    await file.read(head, 0, head.length, 0);
    const header = parseNpyHeader(head, { name: path, size });
    return mapElements(header, { path: resolved, offset: 0, modified });
  } catch (error) {
    return fail(error);
  } finally {
    await file.close();
  }
}

/** The array of a `.npy` file that lies in a range of a file as it is. */
export function mapElements(header: NpyHeader, file: FileRange): NdArray {
  const { dtype, shape, dataStart } = header;
  const source = { ...file, offset: file.offset + dataStart };
  if (isPlain(header)) return mappedArray(dtype, shape, source);
  return lazyArray(dtype, shape, {
    read: () => arrange(header, readData(mappedArray(dtype, shape, source))),
  });
}

/** The array of bytes that may be used as its memory. */
export function decodeNpy(bytes: Uint8Array, name: string): NdArray {
  const header = parseNpyHeader(bytes, { name, size: bytes.length });
  return decodeElements(header, bytes.subarray(header.dataStart));
}

/** The array of bytes of elements alone, which may be used as its memory. */
export function decodeElements(header: NpyHeader, bytes: Uint8Array): NdArray {
  const { dtype, shape } = header;
  const isAligned = bytes.byteOffset % bytesPerElement(dtype) === 0;
  const array = viewBytes(isAligned ? bytes : Uint8Array.from(bytes), shape, dtype);
  return isPlain(header) ? array : { dtype, shape, data: arrange(header, array.data) };
}

function isPlain({ dtype, shape, isFortran, isBigEndian }: NpyHeader): boolean {
  const isSwapped = isBigEndian && bytesPerElement(dtype) > 1;
  return !isSwapped && !(isFortran && shape.length > 1);
}

/** Elements as they lie in a file to row-major and little-endian; they are overwritten. */
function arrange<D extends DType>(header: NpyHeader, data: DTypeData[D]): DTypeData[D] {
  const { shape, isFortran, isBigEndian } = header;
  const dtype = header.dtype as D;
  if (isBigEndian) {
    const { buffer, byteOffset, byteLength } = data;
    swapBytes(new Uint8Array(buffer, byteOffset, byteLength), bytesPerElement(dtype));
  }
  if (!isFortran) return data;
  const strides = rowMajorStrides([...shape].reverse()).reverse();
  return gatherStrided(data, { dtype, shape, strides });
}

/** The bytes of a `.npy` file, as `numpy.save` of NumPy 2 writes it. @throws AlignTokError as `writeNpy` */
export function serializeNpy(array: NdArray): Uint8Array {
  const header = formatNpyHeader(array);
  const data = dataBytes("npy array", array);
  const bytes = new Uint8Array(header.length + data.length);
  bytes.set(header);
  bytes.set(data, header.length);
  return bytes;
}

/**
 * Writes an array as a `.npy` file, which appears whole or not at all (see `writeFileAtomic`).
 *
 * @throws AlignTokError `unsupported` for bfloat16 and float8, which NumPy does not have; `bad-input` for an array
 * whose data does not fit its shape; `not-found` for an absent folder; `io`
 */
export async function writeNpy(
  path: string,
  array: NdArray,
  { signal }: Pick<WriteOptions, "signal"> = {},
): Promise<void> {
  await writeChunksAtomic(path, [formatNpyHeader(array), dataBytes(path, array)], {
    signal,
  });
}
