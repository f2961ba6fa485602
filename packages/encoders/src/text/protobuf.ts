import { AlignTokError } from "@aligntok/core";

/** A field of a protobuf message; what of it is set depends on its wire type. */
export interface ProtobufField {
  readonly number: number;
  /** A varint, as a signed 32-bit number. */
  readonly integer?: number;
  readonly float?: number;
  /** Text, bytes or an inner message, not copied. */
  readonly bytes?: Uint8Array;
}

/** The fields of a message, in their order. @throws AlignTokError `bad-format` for other bytes. */
export function readProtobuf(bytes: Uint8Array): ProtobufField[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields: ProtobufField[] = [];
  let at = 0;

  function refuse(): never {
    throw new AlignTokError(
      "bad-format",
      `protobuf: expected a whole message of ${bytes.length} bytes, got one that breaks off or is damaged near byte ${at}`,
    );
  }

  function varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) refuse();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return refuse();
  }

  function take(length: number): number {
    const start = at;
    if (!(length <= bytes.length - start)) refuse();
    at += length;
    return start;
  }

  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        fields.push({ number, integer: Number(BigInt.asIntN(32, varint())) });
        break;
      case 1:
        take(8);
        break;
      case 2: {
        const length = Number(varint());
        const start = take(length);
        fields.push({ number, bytes: bytes.subarray(start, start + length) });
        break;
      }
      case 5:
        fields.push({ number, float: view.getFloat32(take(4), true) });
        break;
      default:
        refuse();
    }
  }
  return fields;
}
