/**
 * Images as `.npz`, the format of the ADM evaluation suite: `arr_0` uint8 (N, H, W, 3), `arr_1` int32 labels (N).
 *
 * An npz is a zip of npy files. Entries are stored uncompressed, always with zip64 sizes, since 50,000 images of
 * 256 px are 9.8 GB; checksums are filled in once an entry is complete (APPNOTE.TXT 6.3.10, 4.3 to 4.5).
 */
import { crc32 } from "node:zlib";
import { check, type Images, sizeOf } from "@aligntok/core";
import { bytesOf, npyHeader } from "./array-file.ts";
import { createGrowingFile, type GrowingFile } from "./growing-file.ts";

export interface ImageArchive {
  /** Appends images `(n, H, W, 3)`. */
  append(images: Images): Promise<void>;
  /** Writes labels and directory; the file takes its name only now. */
  finish(labels: Int32Array): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

interface Entry {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly checksum: number;
}

const version = 45; // zip64
const far = 0xffffffff; // "see the zip64 field"
const localLength = 30 + 20; // fixed fields and zip64 field, without the name

/** Opens `path` for images of a known shape `(N, H, W, 3)`. */
export async function createImageArchive(
  path: string,
  shape: readonly number[],
): Promise<ImageArchive> {
  const file = await createGrowingFile(path);
  const entries: Entry[] = [];
  const header = npyHeader(shape, "|u1");
  const size = header.length + sizeOf(shape);
  let [position, written, checksum] = [0, 0, 0];

  async function put(bytes: Uint8Array): Promise<void> {
    await file.append(bytes);
    written += bytes.length;
    checksum = crc32(bytes, checksum);
  }

  async function begin(name: string, length: number): Promise<void> {
    await file.append(localHeader({ name, offset: position, size: length, checksum: 0 }));
    [written, checksum] = [0, 0];
  }

  async function end(name: string): Promise<void> {
    const entry = { name, offset: position, size: written, checksum };
    entries.push(entry);
    await patchChecksum(file, entry);
    position += localLength + name.length + written;
  }

  await begin("arr_0.npy", size);
  await put(header);
  return {
    async append(images) {
      await put(images.data);
    },
    async finish(labels) {
      check(written === size, () => `${path}: expected ${size} bytes of images, got ${written}`);
      await end("arr_0.npy");
      const labelHeader = npyHeader([labels.length], "<i4");
      await begin("arr_1.npy", labelHeader.length + labels.byteLength);
      await put(labelHeader);
      await put(bytesOf(labels));
      await end("arr_1.npy");
      await file.append(directory(entries, position));
      await file.finish();
    },
    discard: file.discard,
  };
}

function localHeader({ name, size, checksum }: Entry): Uint8Array {
  const bytes = Buffer.alloc(localLength);
  bytes.writeUInt32LE(0x04034b50, 0);
  writeCommon(bytes, 4, { name, checksum, extra: 20 });
  bytes.writeUInt16LE(1, 30); // zip64 field: size twice
  bytes.writeUInt16LE(16, 32);
  bytes.writeBigUInt64LE(BigInt(size), 34);
  bytes.writeBigUInt64LE(BigInt(size), 42);
  return Buffer.concat([bytes.subarray(0, 30), Buffer.from(name), bytes.subarray(30)]);
}

/** Version to name and extra lengths: the fields that local and central headers share. */
function writeCommon(
  bytes: Buffer,
  at: number,
  entry: { readonly name: string; readonly checksum: number; readonly extra: number },
): void {
  bytes.writeUInt16LE(version, at);
  bytes.writeUInt16LE(0x21, at + 8); // 1 January 1980, so that equal images give equal files
  bytes.writeUInt32LE(entry.checksum, at + 10);
  bytes.writeUInt32LE(far, at + 14);
  bytes.writeUInt32LE(far, at + 18);
  bytes.writeUInt16LE(entry.name.length, at + 22);
  bytes.writeUInt16LE(entry.extra, at + 24);
}

async function patchChecksum(file: GrowingFile, { offset, checksum }: Entry): Promise<void> {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(checksum);
  await file.patch(bytes, offset + 14);
}

/** Central directory, zip64 end record, its locator, and the plain end record. */
function directory(entries: readonly Entry[], start: number): Uint8Array {
  const central = entries.map(({ name, offset, size, checksum }) => {
    const bytes = Buffer.alloc(46 + 28);
    bytes.writeUInt32LE(0x02014b50, 0);
    bytes.writeUInt16LE(version, 4);
    writeCommon(bytes, 6, { name, checksum, extra: 28 });
    bytes.writeUInt32LE(far, 42);
    bytes.writeUInt16LE(1, 46); // zip64 field: size twice, offset
    bytes.writeUInt16LE(24, 48);
    bytes.writeBigUInt64LE(BigInt(size), 50);
    bytes.writeBigUInt64LE(BigInt(size), 58);
    bytes.writeBigUInt64LE(BigInt(offset), 66);
    return Buffer.concat([bytes.subarray(0, 46), Buffer.from(name), bytes.subarray(46)]);
  });
  const length = central.reduce((sum, bytes) => sum + bytes.length, 0);
  const count = BigInt(entries.length);

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
  tail.writeUInt16LE(entries.length, 84);
  tail.writeUInt16LE(entries.length, 86);
  tail.writeUInt32LE(far, 88);
  tail.writeUInt32LE(far, 92);
  return Buffer.concat([...central, tail]);
}
