/**
 * Zip archives of any size, written front to back. Members are stored uncompressed and aligned, always with zip64
 * sizes; checksums are filled in once a member is complete. Format: APPNOTE.TXT 6.3.10, 4.3 to 4.5.
 */
import { crc32 } from "node:zlib";
import { check } from "@aligntok/core";
import { createGrowingFile } from "./growing-file.ts";

export interface ZipWriter {
  /** Ends the member before and begins the next one, of `size` bytes. */
  begin(name: string, size: number): Promise<void>;
  append(bytes: Uint8Array): Promise<void>;
  /** Ends the last member and writes the directory; the file takes its name only now. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

interface Entry {
  /** UTF-8. */
  readonly name: Uint8Array;
  readonly offset: number;
  readonly size: number;
  readonly checksum: number;
}

const version = 45; // zip64
const far = 0xffffffff; // "see the zip64 field"
const utf8 = 0x800; // of names
const padding = 0xd935; // the extra field that Android's zipalign writes
const fixedLength = 30 + 20 + 4; // of a local header: fields, zip64 field, head of the padding; without the name
const alignment = 64; // of every member's first byte, so that engines can map what lies in it
const mostParts = 2 ** 30; // bytes of one checksum call

/** @throws AlignTokError as `createGrowingFile`; its functions `bad-input` for other numbers of bytes than promised */
export async function createZipWriter(path: string): Promise<ZipWriter> {
  const file = await createGrowingFile(path);
  const entries: Entry[] = [];
  let current: Entry | undefined;
  let [position, written, checksum] = [0, 0, 0];

  async function end(): Promise<void> {
    if (!current) return;
    const { name, offset, size } = current;
    check(
      written === size,
      () => `${path}: expected ${size} bytes of ${Buffer.from(name)}, got ${written}`,
    );
    entries.push({ ...current, checksum });
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(checksum);
    await file.patch(bytes, offset + 14);
    position = offset + headerLength(current) + written;
    current = undefined;
  }

  return {
    async begin(name, size) {
      await end();
      current = { name: Buffer.from(name), offset: position, size, checksum: 0 };
      [written, checksum] = [0, 0];
      await file.append(localHeader(current));
    },
    async append(bytes) {
      written += bytes.length;
      for (let at = 0; at < bytes.length; at += mostParts) {
        checksum = crc32(bytes.subarray(at, at + mostParts), checksum);
      }
      await file.append(bytes);
    },
    async finish() {
      await end();
      await file.append(directory(entries, position));
      await file.finish();
    },
    discard: file.discard,
  };
}

/** Up to the first byte of the member, which is aligned. */
function headerLength({ name, offset }: Entry): number {
  const least = offset + fixedLength + name.length;
  return Math.ceil(least / alignment) * alignment - offset;
}

function localHeader(entry: Entry): Uint8Array {
  const { name, size } = entry;
  const bytes = Buffer.alloc(headerLength(entry) - name.length);
  bytes.writeUInt32LE(0x04034b50, 0);
  writeCommon(bytes, 4, { ...entry, extra: bytes.length - 30 });
  bytes.writeUInt16LE(1, 30); // zip64 field: size twice
  bytes.writeUInt16LE(16, 32);
  bytes.writeBigUInt64LE(BigInt(size), 34);
  bytes.writeBigUInt64LE(BigInt(size), 42);
  bytes.writeUInt16LE(padding, 50);
  bytes.writeUInt16LE(bytes.length - 54, 52);
  return Buffer.concat([bytes.subarray(0, 30), name, bytes.subarray(30)]);
}

/** Version to name and extra lengths: the fields that local and central headers share. */
function writeCommon(bytes: Buffer, at: number, entry: Entry & { readonly extra: number }): void {
  bytes.writeUInt16LE(version, at);
  bytes.writeUInt16LE(utf8, at + 2);
  bytes.writeUInt16LE(0x21, at + 8); // 1 January 1980, so that equal content gives equal files
  bytes.writeUInt32LE(entry.checksum, at + 10);
  bytes.writeUInt32LE(far, at + 14);
  bytes.writeUInt32LE(far, at + 18);
  bytes.writeUInt16LE(entry.name.length, at + 22);
  bytes.writeUInt16LE(entry.extra, at + 24);
}

/** Central directory, zip64 end record, its locator, and the plain end record. */
function directory(entries: readonly Entry[], start: number): Uint8Array {
  const central = entries.map((entry) => {
    const { name, offset, size } = entry;
    const bytes = Buffer.alloc(46 + 28);
    bytes.writeUInt32LE(0x02014b50, 0);
    bytes.writeUInt16LE(version, 4);
    writeCommon(bytes, 6, { ...entry, extra: 28 });
    bytes.writeUInt32LE(far, 42);
    bytes.writeUInt16LE(1, 46); // zip64 field: size twice, offset
    bytes.writeUInt16LE(24, 48);
    bytes.writeBigUInt64LE(BigInt(size), 50);
    bytes.writeBigUInt64LE(BigInt(size), 58);
    bytes.writeBigUInt64LE(BigInt(offset), 66);
    return Buffer.concat([bytes.subarray(0, 46), name, bytes.subarray(46)]);
  });
  const length = central.reduce((sum, bytes) => sum + bytes.length, 0);
  const count = BigInt(entries.length);
  const shortCount = Math.min(entries.length, 0xffff);

  const tail = Buffer.alloc(56 + 20 + 22);
  tail.writeUInt32LE(0x06064b50, 0);
  tail.writeBigUInt64LE(44n, 4);
  tail.writeUInt16LE(version, 12);
  tail.writeUInt16LE(version, 14);
  tail.writeBigUInt64LE(count, 24);
  tail.writeBigUInt64LE(count, 32);
  tail.writeBigUInt64LE(BigInt(length), 40);
  tail.writeBigUInt64LE(BigInt(start), 48);
  tail.writeUInt32LE(0x07064b50, 56);
  tail.writeBigUInt64LE(BigInt(start + length), 64);
  tail.writeUInt32LE(1, 72);
  tail.writeUInt32LE(0x06054b50, 76);
  tail.writeUInt16LE(shortCount, 84);
  tail.writeUInt16LE(shortCount, 86);
  tail.writeUInt32LE(far, 88);
  tail.writeUInt32LE(far, 92);
  return Buffer.concat([...central, tail]);
}
