/**
 * The few parts of Protocol Buffers' wire format that writing a model needs.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */

/** Collects the fields of one message. */
export interface Message {
  /** A varint: int32, int64, bool or an enum. */
  int(field: number, value: number): Message;
  float(field: number, value: number): Message;
  string(field: number, value: string): Message;
  bytes(field: number, value: Uint8Array): Message;
  message(field: number, value: Message): Message;
  /** A repeated integer field, packed. */
  ints(field: number, values: readonly number[]): Message;
  /** Length in bytes. */
  readonly size: number;
  /** The bytes so far, in pieces: an outer message takes them over without copying. */
  readonly parts: readonly Uint8Array[];
  finish(): Uint8Array;
}

const text = new TextEncoder();
const LENGTH_DELIMITED = 2;

/** A varint: seven bits a byte, least significant first; negative numbers as 64-bit two's complement. */
function varint(value: number): Uint8Array {
  if (value >= 0 && value < 0x80) return Uint8Array.of(value); // most are, and need no BigInt
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest ? low | 0x80 : low);
  } while (rest);
  return Uint8Array.from(bytes);
}

export function createMessage(): Message {
  const parts: Uint8Array[] = [];
  let size = 0;
  const push = (part: Uint8Array) => {
    parts.push(part);
    size += part.length;
  };
  const key = (field: number, wire: number) => push(varint(field * 8 + wire));
  const delimited = (field: number, length: number, chunks: readonly Uint8Array[]) => {
    key(field, LENGTH_DELIMITED);
    push(varint(length));
    chunks.forEach(push);
    return message;
  };
  const message: Message = {
    int(field, value) {
      key(field, 0);
      push(varint(value));
      return message;
    },
    float(field, value) {
      key(field, 5);
      push(new Uint8Array(Float32Array.of(value).buffer));
      return message;
    },
    string(field, value) {
      return message.bytes(field, text.encode(value));
    },
    bytes: (field, value) => delimited(field, value.length, [value]),
    message: (field, value) => delimited(field, value.size, value.parts),
    ints(field, values) {
      const chunks = values.map(varint);
      return delimited(
        field,
        chunks.reduce((sum, { length }) => sum + length, 0),
        chunks,
      );
    },
    get size() {
      return size;
    },
    parts,
    finish() {
      const joined = new Uint8Array(size);
      let offset = 0;
      for (const part of parts) {
        joined.set(part, offset);
        offset += part.length;
      }
      return joined;
    },
  };
  return message;
}
