/**
 * Bytes read front to back with skips: the one thing the tar walk needs, over a file (skips cost
 * nothing), a buffer, or any stream of chunks, gzipped or not.
 */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { AlignTokError } from "@aligntok/core";

export interface ByteSource {
  /** For messages: a path, or `tar stream`. */
  readonly name: string;
  /** The next `length` bytes, or fewer at the end. */
  read(length: number): Promise<Uint8Array>;
  /** Passes over `length` bytes and gives how many there were. */
  skip(length: number): Promise<number>;
  close(): Promise<void>;
}

/** Big enough that the headers of small members come from memory, small enough to skip big ones. */
const windowSize = 256 * 1024;

/** Opens a file; gzip is known by its first two bytes, whatever the name. */
export async function openByteSource(path: string): Promise<ByteSource> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    const magic = new Uint8Array(2);
    const { bytesRead } = await file.read(magic, 0, 2, 0);
    if (!(bytesRead === 2 && isGzip(magic))) return fileSource(file, path, size);
  } catch (error) {
    await file.close();
    throw readError(path, error);
  }
  await file.close();
  return chunkSource(createReadStream(path), path);
}

export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** @throws AlignTokError `not-found` or `io` */
export async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw readError(path, error);
  }
}

/** What reading `path` failed with, as an AlignTokError. */
export function readError(path: string, error: unknown): AlignTokError {
  if (AlignTokError.isInstance(error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new AlignTokError("not-found", `${path}: no such file or folder. check the path`, {
      cause: error,
    });
  }
  if (code?.startsWith("Z_")) {
    return new AlignTokError(
      "bad-format",
      `${path}: expected whole gzip data, got an error (${message}). the file is damaged or cut short`,
      { cause: error },
    );
  }
  return new AlignTokError("io", `${path}: cannot be read (${message})`, { cause: error });
}

function fileSource(file: FileHandle, name: string, size: number): ByteSource {
  let position = 0;
  let window: Uint8Array = new Uint8Array(0);
  let windowStart = 0;
  return {
    name,
    async read(wanted) {
      const length = Math.min(wanted, size - position);
      const inside = position >= windowStart && position + length <= windowStart + window.length;
      if (!inside) {
        const filled = Math.min(Math.max(length, windowSize), size - position);
        const buffer = new Uint8Array(filled);
        const { bytesRead } = await file.read(buffer, 0, filled, position);
        window = buffer.subarray(0, bytesRead);
        windowStart = position;
      }
      const bytes = window.slice(position - windowStart, position - windowStart + length);
      position += bytes.length;
      return bytes;
    },
    async skip(wanted) {
      const length = Math.min(wanted, size - position);
      position += length;
      return length;
    },
    close: () => file.close(),
  };
}

/** A source over chunks of bytes, such as a response body; gzip is undone. */
export function chunkSource(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name = "tar stream",
): ByteSource {
  const iterator = inflate(chunks);
  let rest: Uint8Array = new Uint8Array(0);

  async function next(): Promise<boolean> {
    try {
      const { done, value } = await iterator.next();
      if (done) return false;
      rest = value;
      return true;
    } catch (error) {
      throw readError(name, error);
    }
  }

  return {
    name,
    async read(length) {
      // Chunks are gathered as they come, so a false length cannot make this allocate more than there is.
      const parts: Uint8Array[] = [];
      let missing = length;
      while (missing > 0) {
        if (rest.length === 0 && !(await next())) break;
        const part = rest.subarray(0, missing);
        rest = rest.subarray(part.length);
        missing -= part.length;
        parts.push(part);
      }
      return new Uint8Array(Buffer.concat(parts));
    },
    async skip(length) {
      let missing = length;
      while (missing > 0) {
        if (rest.length === 0 && !(await next())) break;
        const passed = Math.min(missing, rest.length);
        rest = rest.subarray(passed);
        missing -= passed;
      }
      return length - missing;
    },
    async close() {
      await iterator.return(undefined);
    },
  };
}

/** The same chunks, gunzipped where they begin like gzip. */
async function* inflate(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  const iterator = asyncIterator(chunks);
  let head: Uint8Array = new Uint8Array(0);
  try {
    while (head.length < 2) {
      const { done, value } = await iterator.next();
      if (done) break;
      head = head.length === 0 ? value : Buffer.concat([head, value]);
    }
    const whole = join(head, iterator);
    if (!isGzip(head)) {
      yield* whole;
    } else {
      const gunzip = createGunzip();
      pipeline(Readable.from(whole), gunzip, () => {}); // a failure surfaces in the iteration of gunzip
      yield* gunzip;
    }
  } finally {
    await iterator.return?.();
  }
  return undefined;
}

function asyncIterator(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncIterator<Uint8Array> {
  if (Symbol.asyncIterator in chunks) return chunks[Symbol.asyncIterator]();
  const iterator = chunks[Symbol.iterator]();
  return { next: async () => iterator.next() };
}

async function* join(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  if (head.length > 0) yield head;
  for (let step = await rest.next(); !step.done; step = await rest.next()) yield step.value;
  return undefined;
}
