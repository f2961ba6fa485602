/**
 * Members of zip archives: stored or deflated, zip64 included, read whole or as a stream, checked against their size
 * and CRC-32. Format: APPNOTE.TXT 6.3.10.
 */
import { createReadStream } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { pipeline } from "node:stream";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";
import { AlignTokError, type FileRange } from "@aligntok/core";
import yauzl, { type Entry } from "yauzl";
import { fileError } from "./file-error.ts";
import { largestRead, readRange } from "./lazy-array.ts";

/** A file in an archive, as the archive's directory describes it. */
export interface ZipMember {
  /** For messages. */
  readonly archive: string;
  readonly name: string;
  /** In bytes, unpacked. */
  readonly size: number;
  /** In bytes, as it lies in the archive. */
  readonly packedSize: number;
  /** 0 for stored, 8 for deflated; others are not read. */
  readonly method: number;
  readonly checksum: number;
  readonly encrypted: boolean;
  /** Where its local header begins. */
  readonly header: FileRange;
}

const headerLength = 30;
const headerMark = 0x04034b50;
/** No deflated byte stands for more: 258 bytes take two bits at least. */
const mostExpansion = 1032;
/** What is inflated as a whole at most; streams may be longer. */
const mostInflated = 2 ** 31 - 1;
const streamChunk = 2 ** 20;

/** The record at the end of an archive, which a comment of up to 64 KiB follows, and what points to that of zip64. */
const endMark = 0x06054b50;
const endLength = 22;
const locatorMark = 0x07064b50;
const locatorLength = 20;
const longestTail = locatorLength + endLength + 0xffff;

/**
 * The files of a zip archive in the order of its directory; of equal names the last one counts, as in Python.
 *
 * @throws AlignTokError `bad-format` for a damaged archive, `not-found`, `io`
 */
export async function listZipMembers(path: string): Promise<ZipMember[]> {
  const members = new Map<string, ZipMember>();
  try {
    const resolved = await realpath(path);
    const { mtimeMs: modified, size } = await stat(resolved);
    await checkDirectoryPlace(resolved, size);
    const options = { lazyEntries: true, strictFileNames: false } as const;
    for await (const entry of (await yauzl.openPromise(resolved, options)).eachEntry()) {
      if (entry.fileName.endsWith("/")) continue;
      members.set(entry.fileName, describe(path, { path: resolved, offset: 0, modified }, entry));
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code) throw fileError("read", path, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AlignTokError(
      "bad-format",
      `${path}: expected a whole zip archive, got a damaged or cut one (${reason}). fetch it again`,
      { cause },
    );
  }
  return [...members.values()];
}

/**
 * That a zip64 directory lies in the file: positions beyond what a file can have are not an error to yauzl, they end
 * the process.
 */
async function checkDirectoryPlace(path: string, size: number): Promise<void> {
  const file = await open(path, "r");
  try {
    const tail = Buffer.alloc(Math.min(size, longestTail));
    await file.read(tail, 0, tail.length, size - tail.length);
    for (let at = tail.length - endLength; at >= locatorLength; at--) {
      if (tail.readUInt32LE(at) !== endMark) continue;
      if (tail.readUInt32LE(at - locatorLength) !== locatorMark) continue;
      const place = tail.readBigUInt64LE(at - locatorLength + 8);
      if (place + 56n > BigInt(size)) throw new Error("directory outside of the file");
      const record = Buffer.alloc(56);
      await file.read(record, 0, record.length, Number(place));
      if (record.readBigUInt64LE(48) > BigInt(size))
        throw new Error("directory outside of the file");
    }
  } finally {
    await file.close();
  }
}

function describe(archive: string, file: FileRange, entry: Entry): ZipMember {
  return {
    archive,
    name: entry.fileName,
    size: entry.uncompressedSize,
    packedSize: entry.compressedSize,
    method: entry.compressionMethod,
    checksum: entry.crc32,
    encrypted: entry.isEncrypted(),
    header: { ...file, offset: entry.relativeOffsetOfLocalHeader },
  };
}

/**
 * Where the bytes of a member lie, as they are in the archive.
 *
 * @throws AlignTokError `bad-format` for another local header, `unsupported` for what is neither stored nor deflated,
 * `io`
 */
export function locateZipMember(member: ZipMember): FileRange {
  const { header, method, encrypted, size, packedSize } = member;
  if (encrypted || (method !== 0 && method !== 8)) {
    const got = encrypted ? "an encrypted one" : `method ${method}`;
    throw new AlignTokError(
      "unsupported",
      `${nameOf(member)}: expected a stored or deflated member, got ${got}. pack the archive anew`,
    );
  }
  const most = method === 0 ? packedSize : packedSize * mostExpansion;
  if (size > most || (method === 0 && size < most)) {
    throw damaged(member, `${packedSize} that cannot hold ${size}`);
  }
  const bytes = Buffer.from(readRange(header, headerLength));
  if (bytes.readUInt32LE(0) !== headerMark) throw damaged(member, "another header");
  // the lengths of name and padding differ from those of the directory
  const skipped = headerLength + bytes.readUInt16LE(26) + bytes.readUInt16LE(28);
  return { ...header, offset: header.offset + skipped };
}

/** A member as a whole, read and unpacked in this turn of the event loop. @throws as `readZipMember` */
export function readZipMemberSync(member: ZipMember): Uint8Array {
  const place = locateZipMember(member);
  checkWhole(member);
  return unpack(member, readRange(place, member.packedSize));
}

/**
 * A member as a whole.
 *
 * @throws AlignTokError `bad-format` where it is cut or does not have its size and checksum; `unsupported` for
 * encryption, other methods of compression, and more than 2 GiB that are deflated; `io`
 */
export async function readZipMember(member: ZipMember): Promise<Uint8Array> {
  const { packedSize, archive } = member;
  const { offset } = locateZipMember(member);
  checkWhole(member);
  try {
    const file = await open(member.header.path, "r");
    try {
      if (offset + packedSize > (await file.stat()).size) throw damaged(member, "fewer");
      const bytes = new Uint8Array(packedSize);
      for (let done = 0; done < packedSize; ) {
        const length = Math.min(packedSize - done, largestRead);
        const { bytesRead } = await file.read(bytes, done, length, offset + done);
        if (bytesRead === 0) throw damaged(member, "fewer");
        done += bytesRead;
      }
      return unpack(member, bytes);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError("read", archive, error);
  }
}

/**
 * The bytes of a member from its beginning, unpacked, in chunks of up to 1 MiB. Size and checksum are checked at the
 * end.
 *
 * @throws AlignTokError as `readZipMember`; a member may have any size
 */
export async function* streamZipMember(
  member: ZipMember,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { packedSize, size, checksum, method } = member;
  const { path, offset } = locateZipMember(member);
  let [done, sum] = [0, 0];
  if (packedSize > 0) {
    const packed = createReadStream(path, {
      start: offset,
      end: offset + packedSize - 1,
      highWaterMark: streamChunk,
    });
    const inflate = createInflateRaw({ chunkSize: streamChunk });
    const chunks = method === 0 ? packed : pipeline(packed, inflate, () => {});
    try {
      for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
        done += chunk.length;
        sum = crc32(chunk, sum);
        if (done > size) break;
        yield chunk;
      }
    } catch (error) {
      throw asDamage(member, error);
    } finally {
      packed.destroy();
      inflate.destroy();
    }
  }
  if (done !== size || sum !== checksum) throw damaged(member, "others");
}

function checkWhole(member: ZipMember): void {
  const { method, size } = member;
  if (method !== 0 && size > mostInflated) {
    throw new AlignTokError(
      "unsupported",
      `${nameOf(member)}: expected at most ${mostInflated} deflated bytes, got ${size}. write the archive without compression`,
    );
  }
}

function unpack(member: ZipMember, packed: Uint8Array): Uint8Array {
  const bytes = member.method === 0 ? packed : inflate(member, packed);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += largestRead) {
    sum = crc32(bytes.subarray(at, at + largestRead), sum);
  }
  if (bytes.length !== member.size || sum !== member.checksum) throw damaged(member, "others");
  return bytes;
}

function inflate(member: ZipMember, packed: Uint8Array): Uint8Array {
  const { size } = member;
  try {
    // one chunk that is never full is the result itself, not a copy of parts
    const options = { maxOutputLength: Math.max(size, 1), chunkSize: Math.max(size + 1, 64) };
    const bytes = inflateRawSync(packed, options);
    const isPooled = bytes.buffer.byteLength > options.chunkSize;
    return isPooled ? Uint8Array.from(bytes) : new Uint8Array(bytes.buffer, 0, bytes.length);
  } catch (error) {
    throw asDamage(member, error);
  }
}

function asDamage(member: ZipMember, cause: unknown): AlignTokError {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  // zlib's own codes; what comes of the disk stays what it is
  const isZlib = code.startsWith("Z_") || code === "ERR_BUFFER_TOO_LARGE";
  return isZlib
    ? damaged(member, `others (${message})`, cause)
    : fileError("read", member.archive, cause);
}

function nameOf({ archive, name }: ZipMember): string {
  return `${archive}: ${name}`;
}

function damaged(member: ZipMember, got: string, cause?: unknown): AlignTokError {
  const { size, checksum } = member;
  return new AlignTokError(
    "bad-format",
    `${nameOf(member)}: expected ${size} bytes with checksum ${checksum.toString(16)}, got ${got}. the archive is damaged; fetch it again`,
    { cause },
  );
}
