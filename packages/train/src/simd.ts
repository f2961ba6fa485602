/**
 * Loops over float32 arrays as WebAssembly with 128-bit vectors: written here as expressions, turned into
 * the bytes of a module when the program starts. Four elements at a time are enough to be bound by memory,
 * which a JavaScript loop in float64 is far from.
 *
 * Instructions and their codes: WebAssembly Core Specification 2.0, section 5.4.
 */

/** An expression: the bytes of the instructions that leave its value on the stack. */
export type Code = readonly number[];

/** Writes the body of a loop for one element, or four at a time with the same rounding. */
export interface Lanes {
  load(array: string): Code;
  store(array: string, value: Code): void;
  constant(name: string): Code;
  /** Computes a value once, for several uses. */
  keep(value: Code): Code;
  add(a: Code, b: Code): Code;
  sub(a: Code, b: Code): Code;
  mul(a: Code, b: Code): Code;
  div(a: Code, b: Code): Code;
  sqrt(a: Code): Code;
  /** Adds the squares of the values, in float64, to what the loop returns. */
  sumSquares(value: Code): void;
}

export interface Loop {
  /** Arrays of one length, passed by their byte addresses. */
  readonly arrays: readonly string[];
  /** Those of them that the body stores to. */
  readonly writes: readonly string[];
  /** Float32 numbers, passed after the addresses and the length. */
  readonly constants: readonly string[];
  readonly body: (lanes: Lanes) => void;
}

const I32 = 0x7f;
const F32 = 0x7d;
const F64 = 0x7c;
const V128 = 0x7b;
const END = 0x0b;
/** Vectors in one turn of the loop. */
const UNROLL = 4;

const byte = (opcode: number) => [opcode];
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];
const scalarOps = {
  add: byte(0x92),
  sub: byte(0x93),
  mul: byte(0x94),
  div: byte(0x95),
  sqrt: byte(0x91),
};
const vectorOps = {
  add: simd(0xe4),
  sub: simd(0xe5),
  mul: simd(0xe6),
  div: simd(0xe7),
  sqrt: simd(0xe3),
};
const splat = simd(0x13);
const highHalf = [...simd(0x0d), ...Array.from({ length: 16 }, (_, i) => 8 + (i % 8))]; // i8x16.shuffle
const promoteLow = simd(0x5f); // the first two float32 to float64
const addDoubles = simd(0xf0);
const mulDoubles = simd(0xf2);
const extractDouble = (lane: number) => [...simd(0x21), lane];

const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];
const integer = (value: number): Code => [0x41, ...signed(value)];
const increase = (local: number, by: number) => set(local, [...get(local), ...integer(by), 0x6a]);

/** A module that imports `env.memory` and exports each loop as `(...addresses, length, ...constants) => sum`. */
export function buildModule(loops: Readonly<Record<string, Loop>>): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(loops);
  const types = entries.map(([, { arrays, constants }]) => {
    const parameters = [...arrays.map(() => I32), I32, ...constants.map(() => F32)];
    return [0x60, ...list(parameters.map(byte)), ...list([[F64]])];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, list(types)),
    ...section(2, list([[...text("env"), ...text("memory"), 0x02, 0x00, 0]])),
    ...section(3, list(entries.map((_, i) => unsigned(i)))),
    ...section(7, list(entries.map(([name], i) => [...text(name), 0x00, ...unsigned(i)]))),
    ...section(10, list(entries.map(([, loop]) => sized(buildFunction(loop))))),
  ]);
}

/** Turns of UNROLL vectors, then the elements that are left, one at a time. */
function buildFunction({ arrays, writes, constants, body }: Loop): Code {
  const length = arrays.length;
  const firstLocal = arrays.length + 1 + constants.length;
  const locals: number[] = [];
  const newLocal = (type: number) => firstLocal + locals.push(type) - 1;
  const positionOf = (names: readonly string[], name: string) => {
    const index = names.indexOf(name);
    if (index < 0) throw new Error(`loop: ${name} is not among ${names}`);
    return index;
  };

  const splats = constants.map(() => newLocal(V128));
  const vectorSums = Array.from({ length: UNROLL }, () => newLocal(V128));
  const scalarSum = newLocal(F64);

  /** The body once. `offset` is that of its vector in the turn, in bytes; undefined means one element. */
  function writeBody(offset: number | undefined): Code {
    const vector = offset !== undefined;
    const ops = vector ? vectorOps : scalarOps;
    const place = [2, ...unsigned(offset ?? 0)]; // aligned to 4 bytes
    const code: number[] = [];
    const binary = (op: Code) => (a: Code, b: Code) => [...a, ...b, ...op];
    body({
      load: (array) => [
        ...get(positionOf(arrays, array)),
        ...(vector ? simd(0x00) : byte(0x2a)),
        ...place,
      ],
      store(array, value) {
        positionOf(writes, array);
        const store = vector ? simd(0x0b) : byte(0x38);
        code.push(...get(positionOf(arrays, array)), ...value, ...store, ...place);
      },
      constant(name) {
        const index = positionOf(constants, name);
        return get(vector ? splats[index]! : length + 1 + index);
      },
      keep(value) {
        const local = newLocal(vector ? V128 : F32);
        code.push(...set(local, value));
        return get(local);
      },
      add: binary(ops.add),
      sub: binary(ops.sub),
      mul: binary(ops.mul),
      div: binary(ops.div),
      sqrt: (a) => [...a, ...ops.sqrt],
      sumSquares(value) {
        if (vector) {
          const [double, sum] = [newLocal(V128), vectorSums[offset / 16]!];
          for (const half of [value, [...value, ...value, ...highHalf]]) {
            code.push(...set(double, [...half, ...promoteLow]));
            const square = [...get(double), ...get(double), ...mulDoubles];
            code.push(...set(sum, [...get(sum), ...square, ...addDoubles]));
          }
        } else {
          const double = newLocal(F64);
          code.push(...set(double, [...value, 0xbb])); // f64.promote_f32
          const square = [...get(double), ...get(double), 0xa2];
          code.push(...set(scalarSum, [...get(scalarSum), ...square, 0xa0]));
        }
      },
    });
    return code;
  }

  /** while (length >= elements) { content; move on by elements } */
  const repeat = (elements: number, content: Code) => [
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[...get(length), ...integer(elements), 0x49, 0x0d, 1], // leave where length < elements, unsigned
    ...content,
    ...arrays.flatMap((_, i) => increase(i, 4 * elements)),
    ...increase(length, -elements),
    ...[0x0c, 0, END, END], // again
  ];
  const code = [
    ...splats.flatMap((local, i) => set(local, [...get(length + 1 + i), ...splat])),
    ...repeat(4 * UNROLL, Array.from({ length: UNROLL }, (_, i) => writeBody(16 * i)).flat()),
    ...repeat(1, writeBody(undefined)),
    ...get(scalarSum),
    ...vectorSums.flatMap(
      (sum) => [0, 1].flatMap((lane) => [...get(sum), ...extractDouble(lane), 0xa0]), // f64.add
    ),
    END,
  ];
  return [...list(locals.map((type) => [1, type])), ...code];
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
