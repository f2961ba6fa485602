import type { NdArray } from "@aligntok/core";

/**
 * Which arrays another thread holds a copy of: each once, however many models it is bound to. Arrays are the same
 * where their memory is.
 */
export interface HeldArrays {
  /** The number of each array there, and copies of those that it does not hold yet. Nothing is held where it throws. */
  hold(arrays: ReadonlyMap<string, NdArray>): {
    readonly numbers: ReadonlyMap<string, number>;
    readonly copies: ReadonlyMap<number, NdArray>;
  };
  /** Gives up what was held; returns the numbers of those that nobody holds any longer. */
  release(arrays: ReadonlyMap<string, NdArray>): readonly number[];
}

interface Entry {
  readonly number: number;
  holders: number;
}

export function createHeldArrays(): HeldArrays {
  const buffers = new WeakMap<ArrayBufferLike, Map<string, Entry>>();
  let next = 0;

  function entryOf({ dtype, shape, data }: NdArray): Entry {
    const { buffer, byteOffset } = data;
    const entries = buffers.get(buffer) ?? new Map<string, Entry>();
    buffers.set(buffer, entries);
    const key = `${byteOffset} ${dtype} ${shape}`;
    const entry = entries.get(key) ?? { number: next++, holders: 0 };
    entries.set(key, entry);
    return entry;
  }

  return {
    hold(arrays) {
      const entries = Array.from(arrays, ([name, array]) => ({
        name,
        array,
        entry: entryOf(array),
      }));
      const copies = new Map<number, NdArray>();
      for (const { array, entry } of entries) {
        if (entry.holders > 0 || copies.has(entry.number)) continue;
        // a copy in memory of its own, which can be handed over; there may be no room for it
        copies.set(entry.number, { ...array, data: array.data.slice() });
      }
      for (const { entry } of entries) entry.holders++;
      return { numbers: new Map(entries.map(({ name, entry }) => [name, entry.number])), copies };
    },
    release(arrays) {
      const entries = [...arrays.values()].map(entryOf);
      return entries.filter((entry) => --entry.holders === 0).map(({ number }) => number);
    },
  };
}
