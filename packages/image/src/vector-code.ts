/**
 * The two loops of `resize` over 8-bit rows as WebAssembly with 128-bit vectors, assembled here when the first image
 * is resized. Weights of 22 bits do not fit the products of 16 bits that vectors are quick at, so each weight comes
 * as `high * 2^15 + low`; the two sums together are the int32 sum of Pillow in every bit, overflow included.
 *
 * Instructions and their codes: WebAssembly Core Specification 2.0, section 5.4.
 */

import { weightBits } from "./filters.ts";

/** Bits of the lower half of a weight, which is never negative. */
export const lowBits = 15;

/** Bytes that a loop may write past the end of a row, and read past the end of the last one. */
export const slack = 16;

/** Taps that one vector of `across` holds, and rows that one turn of `down` reads. */
export const tapsAcross = 4;
export const tapsDown = 2;

export interface VectorLoops {
  /**
   * One row of pixels of `channels` bytes, 1 to 4. Output pixel `i` starts at byte `from + offsets[i]`; its weights
   * are `turns` times 4 low halves and 4 high ones, int16. Two tables of `i8x16.swizzle`, which bring the taps of
   * each channel together, lie at address 0.
   */
  across(
    from: number,
    to: number,
    offsets: number,
    weights: number,
    count: number,
    turns: number,
    channels: number,
  ): void;
  /** One row from rows that lie `stride` bytes apart; weights are `turns` times 2 low halves and 2 high ones. */
  down(
    from: number,
    to: number,
    weights: number,
    length: number,
    stride: number,
    turns: number,
  ): void;
}

/** Bytes of instructions that leave one value on the stack, or none. */
type Code = readonly number[];

const I32 = 0x7f;
const V128 = 0x7b;
const END = 0x0b;

const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];
const integer = (value: number): Code => [0x41, ...signed(value)];
const plus = (a: Code, b: Code): Code => [...a, ...b, 0x6a];
const times = (a: Code, b: Code): Code => [...a, ...b, 0x6c];
const increase = (local: number, by: Code) => set(local, plus(get(local), by));
/** Does `content`, then lowers `counter` by `step` and starts again while it is positive. */
const repeat = (counter: number, step: number, content: Code): Code => [
  ...[0x03, 0x40, ...content, ...increase(counter, integer(-step))],
  ...[...get(counter), ...integer(0), 0x4a, 0x0d, 0, END], // i32.gt_s, br_if
];

/** A load or the like, of bytes at any address. */
const at = (opcode: number, address: Code, offset = 0): Code => [
  ...address,
  ...simd(opcode),
  ...[0, ...unsigned(offset)],
];
const load = (address: Code, offset = 0) => at(0x00, address, offset);
const load32Splat = (address: Code, offset = 0) => at(0x09, address, offset);
const swizzle = (a: Code, table: Code): Code => [...a, ...table, ...simd(0x0e)];
const shuffle = (a: Code, b: Code, lanes: readonly number[]): Code => [
  ...a,
  ...b,
  ...simd(0x0d),
  ...lanes,
];
const splat = (value: number): Code => [...integer(value), ...simd(0x11)]; // i32x4
const extendLow = (a: Code): Code => [...a, ...simd(0x89)]; // unsigned bytes to int16
const extendHigh = (a: Code): Code => [...a, ...simd(0x8a)];
const dot = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xba)]; // int16 pairs to int32
const addVector = (local: number, value: Code) =>
  set(local, [...get(local), ...value, ...simd(0xae)]);
const narrow = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x85)]; // int32 to int16, saturating
const narrowToBytes = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x66)];

/** The sum of both halves without its fraction. */
const whole = (low: number, high: number): Code => [
  ...[...get(high), ...integer(lowBits), ...simd(0xab)], // i32x4.shl
  ...[...get(low), ...simd(0xae), ...integer(weightBits), ...simd(0xac)], // i32x4.shr_s
];

function across(): Code {
  const [from, to, offsets, weights, count, turns, channels] = [0, 1, 2, 3, 4, 5, 6] as const;
  const [pixel, turn, first, second, taps, low, high] = [7, 8, 9, 10, 11, 12, 13] as const;
  const sum = whole(low, high);
  return body(
    [I32, I32, V128, V128, V128, V128, V128],
    [
      ...set(first, load(integer(0))),
      ...set(second, load(integer(16))),
      ...repeat(count, 1, [
        ...set(pixel, plus(get(from), [...get(offsets), 0x28, 2, 0])), // i32.load
        ...set(low, splat(1 << (weightBits - 1))),
        ...set(high, splat(0)),
        ...set(turn, get(turns)),
        ...repeat(turn, 1, [
          ...set(taps, load(get(pixel))),
          ...[first, second].flatMap((table, i) => [
            ...addVector(
              low,
              dot(swizzle(get(taps), get(table)), load32Splat(get(weights), 4 * i)),
            ),
            ...addVector(
              high,
              dot(swizzle(get(taps), get(table)), load32Splat(get(weights), 8 + 4 * i)),
            ),
          ]),
          ...increase(weights, integer(16)),
          ...increase(pixel, times(get(channels), integer(tapsAcross))),
        ]),
        ...[...get(to), ...narrowToBytes(narrow(sum, sum), splat(0)), ...simd(0x5a), 0, 0, 0], // store32_lane
        ...increase(to, get(channels)),
        ...increase(offsets, integer(4)),
      ]),
    ],
  );
}

function down(): Code {
  const [from, to, weights, length, stride, turns] = [0, 1, 2, 3, 4, 5] as const;
  const [row, weight, turn, a, b, pair, lowWeight, highWeight] = [6, 7, 8, 9, 10, 11, 12, 13];
  const lows = [14, 15, 16, 17];
  const highs = [18, 19, 20, 21];
  const interleave = (half: number) =>
    Array.from({ length: 16 }, (_, i) => 8 * half + (i >> 1) + 16 * (i % 2));
  const sum = (i: number) => whole(lows[i]!, highs[i]!);
  return body(
    [I32, I32, I32, ...Array(13).fill(V128)],
    repeat(length, 16, [
      ...set(row!, get(from)),
      ...set(weight!, get(weights)),
      ...set(turn!, get(turns)),
      ...lows.flatMap((local) => set(local, splat(1 << (weightBits - 1)))),
      ...highs.flatMap((local) => set(local, splat(0))),
      ...repeat(turn!, 1, [
        ...set(a!, load(get(row!))),
        ...set(b!, load(plus(get(row!), get(stride)))),
        ...set(lowWeight!, load32Splat(get(weight!))),
        ...set(highWeight!, load32Splat(get(weight!), 4)),
        ...lows.flatMap((low, i) => {
          const bytes = shuffle(get(a!), get(b!), interleave(i >> 1));
          return [
            ...set(pair!, i % 2 === 0 ? extendLow(bytes) : extendHigh(bytes)),
            ...addVector(low, dot(get(pair!), get(lowWeight!))),
            ...addVector(highs[i]!, dot(get(pair!), get(highWeight!))),
          ];
        }),
        ...increase(row!, times(get(stride), integer(tapsDown))),
        ...increase(weight!, integer(8)),
      ]),
      ...[...get(to), ...narrowToBytes(narrow(sum(0), sum(1)), narrow(sum(2), sum(3)))],
      ...[...simd(0x0b), 0, 0], // v128.store
      ...increase(from, integer(16)),
      ...increase(to, integer(16)),
    ]),
  );
}

/** A module that imports `env.memory` and exports `VectorLoops`. */
export function buildModule(): Uint8Array<ArrayBuffer> {
  const loops = {
    across: { code: across(), parameters: 7 },
    down: { code: down(), parameters: 6 },
  };
  const entries = Object.entries(loops);
  const types = entries.map(([, { parameters }]) => [
    ...[0x60, ...list(Array(parameters).fill([I32]))],
    0,
  ]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, list(types)),
    ...section(2, list([[...text("env"), ...text("memory"), 0x02, 0x00, 0]])),
    ...section(3, list(entries.map((_, i) => unsigned(i)))),
    ...section(7, list(entries.map(([name], i) => [...text(name), 0x00, ...unsigned(i)]))),
    ...section(10, list(entries.map(([, { code }]) => sized(code)))),
  ]);
}

function body(locals: readonly number[], code: Code): Code {
  return [...list(locals.map((type) => [1, type])), ...code, END];
}

function section(id: number, content: Code): Code {
  return [id, ...sized(content)];
}

function sized(content: Code): Code {
  return [...unsigned(content.length), ...content];
}

function list(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): Code {
  return sized([...new TextEncoder().encode(value)]);
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 128 ? [value] : [(value % 128) + 128, ...unsigned(Math.floor(value / 128))];
}

function signed(value: number): Code {
  const low = value & 127;
  const rest = value >> 7;
  const done = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
  return done ? [low] : [low + 128, ...signed(rest)];
}
