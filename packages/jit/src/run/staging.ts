/** Arrays side by side in one buffer, which two threads hand to one another. Runs on both. */
import type { NdArray } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";

/** Where an array lies in a buffer. */
export interface Place extends Value {
  readonly name: string;
  /** In bytes. */
  readonly offset: number;
  /** In elements. */
  readonly length: number;
}

/** Bytes that another thread sees, too, and the place that they are to be copied to. */
export interface SharedBytes {
  readonly bytes: Uint8Array;
  readonly offset: number;
}

const alignment = 64; // a cache line, and the widest vector of a processor

/** Places for arrays one after the other from `start`, and where the last one ends. */
export function layOut(
  values: readonly { readonly name: string; readonly value: Value }[],
  start: number,
): { readonly places: readonly Place[]; readonly end: number } {
  let end = start;
  const places = values.map(({ name, value: { dtype, shape } }) => {
    const offset = Math.ceil(end / alignment) * alignment;
    const length = shape.reduce((product, n) => product * n, 1);
    end = offset + length * (dtype === "bool" ? 1 : 4);
    return { name, dtype, shape, offset, length };
  });
  return { places, end };
}

/** The arrays at these places, sharing the buffer's memory. */
export function viewPlaces(buffer: ArrayBuffer, places: readonly Place[]): Map<string, NdArray> {
  return new Map(
    places.map(({ name, dtype, shape, offset, length }) => {
      const View = dtype === "float32" ? Float32Array : dtype === "int32" ? Int32Array : Uint8Array;
      return [name, { dtype, shape, data: new View(buffer, offset, length) } as NdArray];
    }),
  );
}

/** Whether other threads see the same memory. */
export function isShared({ buffer }: NdArray["data"]): boolean {
  return buffer instanceof SharedArrayBuffer;
}
