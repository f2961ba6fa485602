/** Reading tar archives, plain or gzipped, front to back: `readTar`, and the walk that the shard index shares with it. */
import { AlignTokError } from "@aligntok/core";
import { type ByteSource, chunkSource, openByteSource } from "./byte-source.ts";
import {
  blockSize,
  hasBody,
  parsePax,
  parseTarHeader,
  readText,
  type TarHeader,
  type TarKind,
} from "./tar-header.ts";

/** A member of an archive with its bytes. */
export interface TarMember {
  /** Path inside the archive, of a directory without the slash at its end. */
  readonly name: string;
  /** `other`: links, devices, fifos. */
  readonly kind: TarKind;
  /** Where the data begins, in bytes of the uncompressed archive. */
  readonly offset: number;
  /** Empty for anything but a file. */
  readonly data: Uint8Array;
}

/** A member whose bytes the consumer may take, or leave: the walk then passes over them. */
export interface TarEntry {
  readonly name: string;
  readonly kind: TarKind;
  readonly offset: number;
  readonly size: number;
  /** @throws AlignTokError `bad-format` when the archive ends within the data */
  read(): Promise<Uint8Array>;
}

/** A path, the archive's bytes, or chunks of them: a file stream, a response body. */
export type TarInput = string | Uint8Array | AsyncIterable<Uint8Array>;

/** Long names and pax records of sound archives take less; a damaged size must not be allocated. */
const mostMetadata = 1024 * 1024;

/** Node cannot hold more than 2 GiB in one read. */
const mostData = 2 ** 31 - 1;

/**
 * The members of a tar archive in their order: V7, ustar, GNU and pax headers, gzip recognised by its first bytes.
 * Reading stops at the first block of zeros or the end of the input, as Python's tarfile does.
 *
 * ```ts
 * import { readTar } from "@aligntok/data-laion";
 *
 * for await (const { name, data } of readTar("000000.tar")) console.log(name, data.length);
 * ```
 *
 * @throws AlignTokError `bad-format` when the archive is damaged or ends within a member; the members ahead
 * of the damage have been given by then. `unsupported` for sparse members and members of 2 GiB and more,
 * `not-found`, `io`, `aborted`
 */
export async function* readTar(
  input: TarInput,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<TarMember, void> {
  for await (const entry of walkTar(await openInput(input))) {
    throwIfAborted(options.signal, "reading a tar archive");
    const { name, kind, offset } = entry;
    yield { name, kind, offset, data: await entry.read() };
  }
}

async function openInput(input: TarInput): Promise<ByteSource> {
  if (typeof input === "string") return openByteSource(input);
  return chunkSource(input instanceof Uint8Array ? [input] : input);
}

/** @throws AlignTokError `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined, task: string): void {
  if (signal?.aborted) {
    throw new AlignTokError("aborted", `${task}: aborted`, { cause: signal.reason });
  }
}

/** Walks the headers of an archive and closes the source at the end. */
export async function* walkTar(source: ByteSource): AsyncGenerator<TarEntry, void> {
  try {
    let position = 0;
    let own = new Map<string, string>(); // pax records and long name of the next member
    const common = new Map<string, string>(); // pax records of all further members
    for (;;) {
      const where = `${source.name} at byte ${position}`;
      const block = await source.read(blockSize);
      if (block.length === 0) return;
      if (block.length < blockSize) throw truncated(where, "a tar header", blockSize, block.length);
      const header = parseTarHeader(block, where);
      if (!header) return;
      position += blockSize;

      if (header.kind === "sparse") throw sparse(where, header.name);
      if (isMetadata(header)) {
        const body = await readMetadata(source, header, where);
        if (header.kind === "long-name") own.set("path", readText(body, 0, body.length));
        else if (header.kind === "pax-global") merge(common, parsePax(body, where));
        else if (header.kind === "pax") merge(own, parsePax(body, where));
        position += padded(header.size);
        continue;
      }

      const records = new Map([...common, ...own]);
      own = new Map();
      for (const key of records.keys()) {
        if (key.startsWith("GNU.sparse.")) throw sparse(where, header.name);
      }
      const fullName = records.get("path") ?? header.name;
      const name = header.kind === "directory" ? fullName.replace(/\/+$/, "") : fullName;
      const size = hasBody(block) ? sizeOf(records.get("size"), header.size, where) : 0;
      let taken = false;
      yield {
        name,
        kind: header.kind as TarKind,
        offset: position,
        size,
        async read() {
          taken = true;
          if (size > mostData) {
            throw new AlignTokError(
              "unsupported",
              `${source.name}: ${name}: expected less than 2 GiB, got ${size} bytes`,
            );
          }
          const data = await source.read(size);
          if (data.length < size) {
            throw truncated(`${source.name}: ${name}`, "its data", size, data.length);
          }
          return data;
        },
      };
      const before = taken ? size : 0;
      const passed = before + (await source.skip(padded(size) - before));
      if (passed < padded(size)) {
        throw truncated(`${source.name}: ${name}`, "its data", padded(size), passed);
      }
      position += padded(size);
    }
  } finally {
    await source.close();
  }
}

function isMetadata({ kind }: TarHeader): boolean {
  return kind === "long-name" || kind === "long-link" || kind === "pax" || kind === "pax-global";
}

async function readMetadata(
  source: ByteSource,
  { size }: TarHeader,
  where: string,
): Promise<Uint8Array> {
  if (size > mostMetadata) {
    throw new AlignTokError(
      "bad-format",
      `${where}: expected at most ${mostMetadata} bytes of names and attributes, got ${size}. the file is damaged`,
    );
  }
  const body = await source.read(padded(size));
  if (body.length < padded(size)) {
    throw truncated(where, "names and attributes", padded(size), body.length);
  }
  return body.subarray(0, size);
}

/** Later records win; an empty value takes a record back. */
function merge(into: Map<string, string>, records: ReadonlyMap<string, string>): void {
  for (const [key, value] of records) {
    if (value === "") into.delete(key);
    else into.set(key, value);
  }
}

function sizeOf(record: string | undefined, size: number, where: string): number {
  if (record === undefined) return size;
  if (!/^\d{1,15}$/.test(record)) {
    throw new AlignTokError("bad-format", `${where}: expected a size in bytes, got ${record}`);
  }
  return Number(record);
}

function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize;
}

function truncated(where: string, what: string, expected: number, got: number): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `${where}: expected ${expected} bytes of ${what}, got ${got}. the archive is cut short; fetch it again`,
  );
}

function sparse(where: string, name: string): AlignTokError {
  return new AlignTokError(
    "unsupported",
    `${where}: ${name} is a sparse file, which is not read. pack the archive without --sparse`,
  );
}
