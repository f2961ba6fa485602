/**
 * Where flat arrays live, and how loops run over them.
 *
 * A WebAssembly loop sees one memory only. So the arrays of one training (parameters, gradients, moments,
 * averages) are taken from one memory, side by side. Arrays from elsewhere pass through a window of that
 * memory in blocks: the same loop in the same order, hence the same bits, at less than half the speed. So do arrays
 * for which no memory is to be had: each takes gigabytes of addresses, which limits (`ulimit -v`) may deny.
 */
import { AlignTokError } from "@aligntok/core";
import { type LoopName, loops } from "./loops.ts";
import { buildModule } from "./simd.ts";

/** What is used of it here; Node's types have only its name. */
declare const WebAssembly: {
  readonly Memory: new (options: { initial: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

interface Memory {
  readonly buffer: ArrayBuffer;
}

interface FlatMemory {
  readonly loops: Readonly<Record<LoopName, (...numbers: readonly number[]) => number>>;
  readonly buffer: ArrayBuffer;
  /** Bytes from one array to the next, the first at SLOTS_AT. */
  readonly stride: number;
  /** Arrays that it can still hold. */
  free: number;
  /** Arrays that it holds. */
  used: number;
}

/**
 * Parameters, gradients, a sum of gradients, two moments and an average. What of them is never used takes addresses
 * only: on Linux, where this was measured, a page is provided when it is first touched.
 */
const SLOTS = 6;
/** Below this, copies through the window stay in the cache, and a memory of its own is not worth its pages. */
const SMALLEST = 1 << 16;
/** Elements of an array in the window. */
const BLOCK = 1 << 14;
const WINDOWS = 5;
const PAGE = 1 << 16;
const LIMIT = 2 ** 32;
const SLOTS_AT = WINDOWS * 4 * BLOCK;

const memories = new WeakMap<ArrayBufferLike, FlatMemory>();
let module: object | undefined;
let windowOnly: FlatMemory | undefined;

/** Zeros at the start of a new memory, with room for others of the same length beside them. */
export function allocateFlat(length: number): Float32Array<ArrayBuffer> {
  const stride = Math.ceil((4 * length) / PAGE) * PAGE;
  const slots = Math.min(SLOTS, Math.floor((LIMIT - SLOTS_AT) / stride));
  if (length < SMALLEST || slots < 1) return new Float32Array(length);
  const memory = reserve(stride * slots);
  if (memory instanceof RangeError) return new Float32Array(length);
  return takeSlot(createMemory(memory, { stride, slots }), length);
}

/** Zeros of the same length, in the same memory while it has room. */
export function allocateBeside(flat: Float32Array): Float32Array<ArrayBuffer> {
  const memory = memories.get(flat.buffer);
  return memory && memory.free > 0 ? takeSlot(memory, flat.length) : new Float32Array(flat.length);
}

function takeSlot(memory: FlatMemory, length: number): Float32Array<ArrayBuffer> {
  memory.free--;
  return new Float32Array(memory.buffer, SLOTS_AT + memory.stride * memory.used++, length);
}

/** A memory of a window and these bytes, or why there is none. */
function reserve(bytes: number): Memory | RangeError {
  try {
    return new WebAssembly.Memory({ initial: Math.ceil((SLOTS_AT + bytes) / PAGE) });
  } catch (error) {
    if (error instanceof RangeError) return error;
    throw error;
  }
}

function createWindow(): FlatMemory {
  const memory = reserve(0);
  if (!(memory instanceof RangeError)) return createMemory(memory, { stride: 0, slots: 0 });
  throw new AlignTokError(
    "out-of-memory",
    `optimizer: expected 10 GiB of addresses for a WebAssembly memory, got ${memory.message}. raise the limit of addresses (ulimit -v)`,
    { cause: memory },
  );
}

function createMemory(
  memory: Memory,
  { stride, slots }: { readonly stride: number; readonly slots: number },
): FlatMemory {
  module ??= new WebAssembly.Module(buildModule(loops));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const created: FlatMemory = {
    loops: exports as FlatMemory["loops"],
    buffer: memory.buffer,
    stride,
    free: slots,
    used: 0,
  };
  memories.set(memory.buffer, created);
  return created;
}

/**
 * Runs a loop over [start, end) of arrays of one length, given in the loop's order, which are changed in
 * place. Returns the loop's sum.
 */
export function runLoop(
  name: LoopName,
  arrays: readonly Float32Array[],
  {
    constants = [],
    start = 0,
    end = arrays[0]!.length,
  }: {
    /** In the loop's order. @default none */
    readonly constants?: readonly number[];
    /** @default 0 */
    readonly start?: number;
    /** @default the length of the arrays */
    readonly end?: number;
  } = {},
): number {
  const home = arrays.find(({ buffer }) => memories.has(buffer));
  if (!home) windowOnly ??= createWindow();
  const memory = home ? memories.get(home.buffer)! : windowOnly!;
  const loop = memory.loops[name];
  const isHome = ({ buffer }: Float32Array) => buffer === memory.buffer;
  const call = (places: readonly Float32Array[]) =>
    loop(...places.map(({ byteOffset }) => byteOffset), places[0]!.length, ...constants);
  if (arrays.every(isHome)) return call(arrays.map((array) => array.subarray(start, end)));

  const { arrays: names, writes } = loops[name];
  let sum = 0;
  for (let from = start; from < end; from += BLOCK) {
    const blocks = arrays.map((array) => array.subarray(from, Math.min(from + BLOCK, end)));
    const places = blocks.map((block, i) => {
      if (isHome(block)) return block;
      const window = new Float32Array(memory.buffer, 4 * BLOCK * i, block.length);
      window.set(block);
      return window;
    });
    sum += call(places);
    blocks.forEach((block, i) => {
      if (places[i] !== block && writes.includes(names[i]!)) block.set(places[i]!);
    });
  }
  return sum;
}
