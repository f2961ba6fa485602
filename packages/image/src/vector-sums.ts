/** `RowSums` of 8-bit pixels in WebAssembly. */

import { fixedWeight, mostTaps, type Taps } from "./filters.ts";
import type { RowSums, SumsOptions } from "./row-sums.ts";
import {
  buildModule,
  lowBits,
  slack,
  tapsAcross,
  tapsDown,
  type VectorLoops,
} from "./vector-code.ts";

/** What is used of it here; Node's types have only its name. */
declare const WebAssembly: {
  readonly Memory: new (options: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

interface Machine {
  readonly buffer: ArrayBuffer;
  readonly loops: VectorLoops;
}

const page = 65536;
/** A memory of this size serves one image after the other; what needs more gets one of its own. */
const keptPages = 64;

let module: object | undefined;
let kept: Machine | undefined;

/**
 * @param options `size` with room for `slack` elements behind the last row; 1 to 4 channels
 * @returns undefined where there is no WebAssembly, or no memory for it: each takes gigabytes of addresses, which
 * limits (`ulimit -v`) may deny
 */
export function openVectorSums(options: Omit<SumsOptions, "dtype">): RowSums | undefined {
  const { channels, size, across, down } = options;
  const acrossTurns = turnsOf(across, tapsAcross);
  const downTurns = turnsOf(down, tapsDown);
  const offsetsAt = 32;
  const acrossAt = align(offsetsAt + 4 * (across?.firsts.length ?? 0));
  const downAt = acrossAt + 4 * tapsAcross * acrossTurns * (across?.firsts.length ?? 0);
  const rowsAt = align(downAt + 4 * tapsDown * downTurns * (down?.firsts.length ?? 0));
  const machine = openMachine(Math.ceil((rowsAt + size) / page));
  if (!machine) return undefined;

  const { buffer, loops } = machine;
  new Uint8Array(buffer).set([...gather(channels, 0), ...gather(channels, 2)]);
  if (across) {
    const offsets = new Int32Array(buffer, offsetsAt, across.firsts.length);
    for (let i = 0; i < offsets.length; i++) offsets[i] = across.firsts[i]! * channels;
    packWeights(new Int16Array(buffer, acrossAt), across, { turns: acrossTurns, taps: tapsAcross });
  }
  if (down) {
    packWeights(new Int16Array(buffer, downAt), down, { turns: downTurns, taps: tapsDown });
  }
  return {
    rows: new Uint8Array(buffer, rowsAt, size),
    across(from, to) {
      const { length } = across!.firsts;
      loops.across(rowsAt + from, rowsAt + to, offsetsAt, acrossAt, length, acrossTurns, channels);
    },
    down(y, from, to, length) {
      const weights = downAt + 4 * tapsDown * downTurns * y;
      loops.down(rowsAt + from, rowsAt + to, weights, length, length, downTurns);
    },
  };
}

function openMachine(pages: number): Machine | undefined {
  if (pages <= keptPages && kept) return kept;
  try {
    module ??= new WebAssembly.Module(buildModule());
    const memory = new WebAssembly.Memory({ initial: Math.max(pages, keptPages) });
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const machine = { buffer: memory.buffer, loops: exports as VectorLoops };
    if (pages <= keptPages) kept = machine;
    return machine;
  } catch {
    return undefined;
  }
}

/** Turns of a loop that takes `taps` at a time. */
function turnsOf(line: Taps | undefined, taps: number): number {
  return line ? Math.ceil(mostTaps(line) / taps) : 0;
}

/** A table of `i8x16.swizzle`: byte `c` of pixels `tap` and `tap + 1` as int16, for each channel `c`. */
function gather(channels: number, tap: number): number[] {
  const zero = 255;
  return Array.from({ length: 4 }, (_, c) =>
    [tap, tap + 1].flatMap((pixel) => [c < channels ? pixel * channels + c : zero, zero]),
  ).flat();
}

/** For each output pixel, `turns` times `taps` low halves and as many high ones; what is not needed is zero. */
function packWeights(
  to: Int16Array,
  { firsts, counts, weights, stride }: Taps,
  { turns, taps }: { readonly turns: number; readonly taps: number },
): void {
  to.fill(0, 0, firsts.length * turns * taps * 2);
  for (let i = 0; i < firsts.length; i++) {
    for (let k = 0; k < counts[i]!; k++) {
      const at = (i * turns + Math.floor(k / taps)) * 2 * taps + (k % taps);
      const weight = fixedWeight(weights[i * stride + k]!);
      to[at] = weight & ((1 << lowBits) - 1);
      to[at + taps] = weight >> lowBits;
    }
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / slack) * slack;
}
