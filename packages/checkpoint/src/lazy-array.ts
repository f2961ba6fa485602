/** Arrays whose elements are read when first looked at. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import {
  AlignTokError,
  byteLength,
  bytesPerElement,
  check,
  type DType,
  type DTypeData,
  type FileRange,
  type NdArray,
  sizeOf,
  viewBytes,
} from "@aligntok/core";
import { fileError } from "./file-error.ts";

/** One read call moves at most 2 GiB - 4 KiB on Linux. */
export const largestRead = 2 ** 30;

/** How the data of a lazy array is had without the array keeping it. */
const readers = new WeakMap<NdArray, () => NdArray["data"]>();

/**
 * An array whose `data` is what `read` returns, called when it is first looked at. `source` says where the same
 * bytes lie in a file, if they do.
 */
export function lazyArray<D extends DType>(
  dtype: D,
  shape: readonly number[],
  options: { readonly read: () => DTypeData[D]; readonly source?: FileRange },
): NdArray<D> {
  let data: DTypeData[D] | undefined;
  const array = {
    dtype,
    shape,
    get data() {
      data ??= options.read();
      return data;
    },
  };
  // Not enumerable, so that arrays of equal elements are equal, and a copy does not claim to lie in the file.
  if (options.source) Object.defineProperty(array, "source", { value: options.source });
  readers.set(array, () => data ?? options.read());
  return array;
}

/** A lazy array of bytes that lie in a file as they lie in memory. */
export function mappedArray<D extends DType>(
  dtype: D,
  shape: readonly number[],
  source: FileRange,
): NdArray<D> {
  const length = byteLength({ dtype, shape });
  const read = () => viewBytes(readRange(source, length), shape, dtype).data;
  // an engine maps whole elements only
  const aligned = source.offset % bytesPerElement(dtype) === 0;
  return lazyArray(dtype, shape, { read, ...(aligned && { source }) });
}

/** The data of any array; a lazy one does not keep it, so that going through a file holds one array at a time. */
export function readData<D extends DType>(array: NdArray<D>): DTypeData[D] {
  const read = readers.get(array) as (() => DTypeData[D]) | undefined;
  return read ? read() : array.data;
}

/**
 * The rows of several float32 arrays as one array, which is read when first looked at: parts that lie in files go straight
 * to their place in it.
 *
 * @throws AlignTokError `bad-input` for rows of different sizes; when it is read, as the parts do
 */
export function joinRows(parts: readonly NdArray<"float32">[]): NdArray<"float32"> {
  const rest = parts[0]?.shape.slice(1) ?? [];
  for (const { shape } of parts) {
    check(
      shape.slice(1).join() === rest.join(),
      () => `joined rows: expected [*,${rest}], got [${shape}]`,
    );
  }
  const shape = [parts.reduce((sum, part) => sum + part.shape[0]!, 0), ...rest];
  function read(): Float32Array {
    const whole = new Float32Array(sizeOf(shape));
    let offset = 0;
    for (const part of parts) {
      const place = whole.subarray(offset, offset + sizeOf(part.shape));
      if (part.source) readRange(part.source, place.byteLength, { into: bytesOf(place) });
      else place.set(readData(part));
      offset += place.length;
    }
    return whole;
  }
  return lazyArray("float32", shape, { read });
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/**
 * The bytes of a file range, in `into` where that is given.
 *
 * @throws AlignTokError `io`; `bad-format` when the file ends before; `bad-input` when it was written since
 */
export function readRange(
  { path, offset, modified }: FileRange,
  length: number,
  { into }: { readonly into?: Uint8Array } = {},
): Uint8Array {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const { size, mtimeMs } = fstatSync(file);
    if (mtimeMs === modified && offset + length > size) {
      throw new AlignTokError(
        "bad-format",
        `read ${path}: expected ${offset + length} bytes, got ${size}. the file is damaged or incomplete`,
      );
    }
    const bytes = into ?? new Uint8Array(mtimeMs === modified ? length : 0);
    let done = 0;
    while (fstatSync(file).mtimeMs === modified && done < length) {
      const count = readSync(
        file,
        bytes,
        done,
        Math.min(length - done, largestRead),
        offset + done,
      );
      if (count === 0) break;
      done += count;
    }
    if (done === length) return bytes;
  } catch (error) {
    throw fileError("read", path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  throw new AlignTokError(
    "bad-input",
    `read ${path}: expected the file that was opened, got one written since. load it again`,
  );
}
