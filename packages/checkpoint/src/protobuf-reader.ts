/** Fields of a protobuf message. Wire format: https://protobuf.dev/programming-guides/encoding */

import { AlignTokError } from "@aligntok/core";

/** A message inside of `bytes`; submessages share the bytes, so that a field knows where it lies in the file. */
export interface Message {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Numbers hold `value`; a string, a message or packed numbers hold `start` and `end`. */
export interface Field extends Message {
  readonly number: number;
  readonly wire: 0 | 1 | 2 | 5;
  readonly value: bigint;
}

/** @throws AlignTokError `bad-format` where the bytes end in a field or are none. */
export function* readFields({ bytes, start, end }: Message): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cursor = { at: start };
  while (cursor.at < end) {
    const key = readVarint(bytes, cursor, end);
    const number = Number(key >> 3n);
    const wire = Number(key & 7n);
    if (number === 0 || number > 0x1fffffff) throw malformed(cursor.at, `field ${number}`);
    let value = 0n;
    let from = cursor.at;
    if (wire === 0) value = readVarint(bytes, cursor, end);
    else if (wire === 1 || wire === 5) {
      const length = wire === 1 ? 8 : 4;
      if (from + length > end) throw malformed(from, "a number beyond the end");
      value = wire === 1 ? view.getBigUint64(from, true) : BigInt(view.getUint32(from, true));
      cursor.at += length;
    } else if (wire === 2) {
      const length = readVarint(bytes, cursor, end);
      from = cursor.at;
      if (length > BigInt(end - from)) throw malformed(from, `${length} bytes beyond the end`);
      cursor.at += Number(length);
    } else throw malformed(from, `wire type ${wire}`);
    yield { number, wire: wire as Field["wire"], value, bytes, start: from, end: cursor.at };
  }
}

/** The varints that a packed field holds one after the other, or the one of a field that is not packed. */
export function readVarints(field: Field): bigint[] {
  if (field.wire !== 2) return [field.value];
  const cursor = { at: field.start };
  const out: bigint[] = [];
  while (cursor.at < field.end) out.push(readVarint(field.bytes, cursor, field.end));
  return out;
}

export function readText({ bytes, start, end }: Message): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}

function readVarint(bytes: Uint8Array, cursor: { at: number }, end: number): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (cursor.at >= end) throw malformed(cursor.at, "the end inside of a number");
    const byte = bytes[cursor.at++]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw malformed(cursor.at, "a number of more than 10 bytes");
}

function malformed(at: number, what: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `protobuf: expected a field at byte ${at}, got ${what}. the file is damaged or of another format`,
  );
}
