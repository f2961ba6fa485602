/** Reading and writing safetensors. Hosts are taken to be little-endian, as every platform of Node's releases but s390x is. */

import { type FileHandle, open } from "node:fs/promises";
import { AlignTokError, type NdArray, viewBytes } from "@aligntok/core";
import { writeChunksAtomic } from "./atomic-file.ts";
import { fileError } from "./file-error.ts";
import { formatHeader, type Header, headerLength, parseHeader, prefixLength } from "./header.ts";
import { largestRead } from "./lazy-array.ts";
import { eachArray, type WriteOptions } from "./write-progress.ts";

/** What a file holds: arrays by name, in the dtype of the file, and free text by key. */
export interface Safetensors {
  readonly tensors: Record<string, NdArray>;
  readonly metadata: Record<string, string>;
}

/**
 * Reads a safetensors file of any size, one tensor after the other: each owns its memory.
 *
 * Dtypes: F64 F32 F16 BF16 F8_E4M3 F8_E5M2 F8_E4M3FNUZ F8_E5M2FNUZ F8_E8M0 I64 I32 I16 I8 U64 U32 U16 U8 BOOL.
 *
 * @throws AlignTokError `not-found`; `io`; `bad-format` for a damaged file; `unsupported` for a dtype
 * not listed: C64 and those of less than a byte, F4, F6_E2M3, F6_E3M2.
 */
export async function readSafetensors(path: string): Promise<Safetensors> {
  return withHeader(path, async ({ entries, metadata, dataStart }, file) => {
    const tensors: [string, NdArray][] = [];
    for (const { name, dtype, shape, start, end } of entries) {
      const bytes = await readAt(file, dataStart + start, end - start, path);
      tensors.push([name, viewBytes(bytes, shape, dtype)]);
    }
    return { tensors: Object.fromEntries(tensors), metadata };
  });
}

/** Where things lie in a file, and when it was last written, in milliseconds. */
type FileHeader = Header & { readonly dataStart: number; readonly modified: number };

/** What `use` makes of an open file and its header. */
export async function withHeader<T>(
  path: string,
  use: (header: FileHeader, file: FileHandle) => T | Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const stats = await file.stat();
    if (!stats.isFile()) {
      throw new AlignTokError("bad-input", `safetensors ${path}: expected a file, got a folder`);
    }
    const prefix = await readAt(file, 0, Math.min(prefixLength, stats.size), path);
    const length = headerLength(prefix, stats.size, path);
    const dataStart = prefixLength + length;
    const json = await readAt(file, prefixLength, length, path);
    const header = parseHeader(json, stats.size - dataStart, path);
    return await use({ ...header, dataStart, modified: stats.mtimeMs }, file);
  } catch (error) {
    throw fileError("read", path, error);
  } finally {
    await file?.close();
  }
}

async function readAt(
  file: FileHandle,
  position: number,
  length: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const count = Math.min(length - done, largestRead);
    const { bytesRead } = await file.read(bytes, done, count, position + done);
    if (bytesRead === 0) {
      const got = position + done;
      throw new AlignTokError(
        "bad-format",
        `safetensors ${path}: expected ${position + length} bytes, got ${got}. the file shrank while it was read`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}

/**
 * Parses the bytes of a safetensors file. The arrays are copies: they own their memory.
 *
 * @throws AlignTokError `bad-format` for damaged bytes, `unsupported` for a dtype such as F4.
 */
export function parseSafetensors(bytes: Uint8Array): Safetensors {
  const source = "bytes";
  const dataStart = prefixLength + headerLength(bytes, bytes.length, source);
  const json = bytes.subarray(prefixLength, dataStart);
  const { entries, metadata } = parseHeader(json, bytes.length - dataStart, source);
  const tensors = entries.map(({ name, dtype, shape, start, end }): [string, NdArray] => {
    // Uint8Array.from, since slice of a Buffer would be a view
    const own = Uint8Array.from(bytes.subarray(dataStart + start, dataStart + end));
    return [name, viewBytes(own, shape, dtype)];
  });
  return { tensors: Object.fromEntries(tensors), metadata };
}

export interface SafetensorsOptions {
  /** Free text that readers of the file get back. @default none */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface WriteSafetensorsOptions extends SafetensorsOptions, WriteOptions {}

/**
 * The bytes of a safetensors file, laid out as the Python library does: wide dtypes first, names sorted.
 *
 * @throws AlignTokError `bad-input` for an array whose data does not fit its shape and dtype.
 */
export function serializeSafetensors(
  tensors: Readonly<Record<string, NdArray>>,
  { metadata }: SafetensorsOptions = {},
): Uint8Array {
  return new Uint8Array(Buffer.concat([...chunksOf(tensors, metadata)]));
}

/**
 * Writes a safetensors file of any size; it appears whole or not at all (see `writeFileAtomic`). Arrays of
 * `openCheckpoint` are read one at a time and not kept. The arrays must not change until the promise resolves.
 *
 * @throws AlignTokError `bad-input` for an array whose data does not fit its shape and dtype;
 * `not-found` for an absent folder; `io` for a full disk or a folder that is not writable; `aborted`.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, NdArray>>,
  { metadata, ...options }: WriteSafetensorsOptions = {},
): Promise<void> {
  await writeChunksAtomic(path, chunksOf(tensors, metadata, options), options);
}

/** The header, then the data of one array after the other; what a file holds is read when its turn comes. */
function* chunksOf(
  tensors: Readonly<Record<string, NdArray>>,
  metadata: Readonly<Record<string, string>> | undefined,
  options: WriteOptions = {},
): Generator<Uint8Array> {
  const { bytes, ordered } = formatHeader(tensors, metadata);
  yield bytes;
  for (const [, , data] of eachArray("safetensors", ordered, options)) yield data;
}
