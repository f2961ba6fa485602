/** Writing arrays one after the other: checked, counted, and stopped between two of them. */
import {
  AlignTokError,
  byteLength,
  check,
  type NdArray,
  type OnProgress,
  sizeOf,
} from "@aligntok/core";
import { readData } from "./lazy-array.ts";

export interface WriteOptions {
  /** Stops between two arrays; nothing is left behind. */
  readonly signal?: AbortSignal;
  /** Bytes of arrays written. */
  readonly onProgress?: OnProgress;
}

/** Bytes of an array's elements; what a file holds is read now and not kept. */
export function dataBytes(name: string, array: NdArray): Uint8Array {
  const { buffer, byteOffset, byteLength: got } = readData(array);
  const { dtype, shape } = array;
  check(
    got === byteLength(array),
    () =>
      `${name}: expected ${sizeOf(shape)} elements of ${dtype} for shape [${shape}], got ${got} bytes`,
  );
  return new Uint8Array(buffer, byteOffset, got);
}

/** Name and bytes of each array in turn. `what` is the kind of file, for messages. */
export function* eachArray(
  what: string,
  arrays: readonly (readonly [name: string, array: NdArray])[],
  { signal, onProgress }: WriteOptions,
): Generator<readonly [name: string, array: NdArray, bytes: Uint8Array]> {
  const total = arrays.reduce((sum, [, array]) => sum + byteLength(array), 0);
  let done = 0;
  for (const [name, array] of arrays) {
    throwIfAborted(signal, `writing ${what}`);
    yield [name, array, dataBytes(`${what} tensor ${name}`, array)];
    done += byteLength(array);
    onProgress?.({ task: "writing", done, total, unit: "bytes" });
  }
}

export function throwIfAborted(signal: AbortSignal | undefined, task: string): void {
  if (signal?.aborted) {
    throw new AlignTokError("aborted", `${task}: aborted`, { cause: signal.reason });
  }
}
