/**
 * TensorBoard event files, as far as scalars need them.
 *
 * A file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h):
 *   uint64 length, uint32 masked crc of the length, data, uint32 masked crc of the data; little-endian.
 * Data is an Event message (tensorflow/core/util/event.proto, framework/summary.proto):
 *   Event { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary summary }
 *   Summary { repeated 1: Value value }, Value { 1: string tag, 2: float simple_value }
 */

const headerSize = 12;
const footerSize = 4;
const stepTag = 2 << 3; // field 2, varint

/** The record every event file starts with. `wallTime` in seconds since 1970. */
export function formatVersionRecord(wallTime: number): Uint8Array {
  const version = Buffer.from("brain.Event:2");
  return formatRecord(Buffer.concat([...eventStart(wallTime, 0), lengthPrefixed(3, version)]));
}

/** One event with a scalar per metric. `wallTime` in seconds since 1970. */
export function formatScalarRecord(
  wallTime: number,
  step: number,
  metrics: Readonly<Record<string, number>>,
): Uint8Array {
  const values = Object.entries(metrics).map(([tag, value]) => {
    const simpleValue = Buffer.alloc(5);
    simpleValue[0] = (2 << 3) | 5; // field 2, 32 bits
    simpleValue.writeFloatLE(value, 1);
    return lengthPrefixed(1, Buffer.concat([lengthPrefixed(1, Buffer.from(tag)), simpleValue]));
  });
  const summary = lengthPrefixed(5, Buffer.concat(values));
  return formatRecord(Buffer.concat([...eventStart(wallTime, step), summary]));
}

/**
 * Length of the leading part of a file of ours whose records are whole and of no later step than
 * `step`: what remains when a run goes back to that step.
 */
export function lengthUntilStep(bytes: Uint8Array, step: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  while (offset + headerSize + footerSize <= bytes.length) {
    const length = Number(view.getBigUint64(offset, true));
    const end = offset + headerSize + length + footerSize;
    if (end > bytes.length) break;
    const data = bytes.subarray(offset + headerSize, end - footerSize);
    if (view.getUint32(offset + 8, true) !== maskedCrc(bytes.subarray(offset, offset + 8))) break;
    if (view.getUint32(end - footerSize, true) !== maskedCrc(data)) break;
    if (readStep(data) > step) break;
    offset = end;
  }
  return offset;
}

/** wall_time, and step unless it is 0, as protobuf leaves out defaults: `readStep` relies on this order. */
function eventStart(wallTime: number, step: number): Buffer[] {
  const time = Buffer.alloc(9);
  time[0] = (1 << 3) | 1; // field 1, 64 bits
  time.writeDoubleLE(wallTime, 1);
  return step === 0 ? [time] : [time, Buffer.of(stepTag, ...varint(step))];
}

function readStep(event: Uint8Array): number {
  let step = 0;
  if (event[9] !== stepTag) return step;
  for (let i = 10, unit = 1; i < event.length; i++, unit *= 128) {
    step += (event[i]! & 0x7f) * unit;
    if (event[i]! < 0x80) break;
  }
  return step;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

function lengthPrefixed(field: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of((field << 3) | 2, ...varint(content.length)), content]);
}

function formatRecord(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(headerSize + data.length + footerSize);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(data, headerSize);
  record.writeUInt32LE(maskedCrc(data), headerSize + data.length);
  return record;
}

/** Rotated and shifted, since a crc of data that holds crcs is weak (tensorflow/core/lib/hash/crc32c.h). */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

// Castagnoli's polynomial, reflected (RFC 3720 B.4); zlib's crc32 uses another one
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

/** CRC-32C of bytes, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}
