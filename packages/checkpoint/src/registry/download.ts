/**
 * One file over HTTP: resumed by Range, checked by size and hash, renamed into place.
 *
 * What has arrived lies in a part, with a note of the server's validator beside it, so that a later call goes on
 * only with the same file (RFC 9110, 13.1.5 and 14).
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  type FileHandle,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { basename, dirname } from "node:path";
import { AlignTokError, type OnProgress } from "@aligntok/core";
import { fileError } from "../file-error.ts";
import { findFileKind, findStranger, readHead } from "../file-kind.ts";
import { partOf } from "./hub-cache.ts";
import { withLock } from "./lock.ts";
import {
  type Client,
  isPassing,
  longestWait,
  pause,
  refusal,
  request,
  retryAfter,
} from "./request.ts";

/** What is known of a file before it is fetched. */
export interface Expected {
  readonly bytes?: number;
  /** All 64 hexadecimal digits, or the first of them where only these are published. */
  readonly sha256?: string;
  /** Name of the object in git, which is the SHA-1 of a header and the content. */
  readonly gitSha1?: string;
}

export interface Patience {
  /** Attempts in a row that may bring nothing. @default 5 */
  readonly retries?: number;
  /** Milliseconds without a byte after which an attempt is given up. @default 30000 */
  readonly stallTimeout?: number;
  /** Milliseconds before the second attempt, doubled with each, with jitter. @default 1000 */
  readonly retryDelay?: number;
}

export interface DownloadOptions extends Patience {
  readonly task: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** Fetches `url` to `path`, unless another process has brought it meanwhile. */
export async function downloadFile(
  url: string,
  path: string,
  options: DownloadOptions & { readonly client: Client; readonly expected: Expected },
): Promise<void> {
  const part = partOf(path);
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw fileError("write", path, error);
  });
  const before = await stat(path).catch(() => undefined);
  await withLock(`${part}.lock`, options.signal, async () => {
    const now = await stat(path).catch(() => undefined);
    if (now && now.mtimeMs !== before?.mtimeMs) return; // brought while we waited
    const resumed = await fetchPart(url, part, options);
    const wrong = await findFault(part, options.expected, options);
    if (wrong) {
      await discard(part);
      if (!resumed) throw damaged(url, wrong);
      await fetchPart(url, part, options); // the part that we went on with was not of this file
      const still = await findFault(part, options.expected, options);
      if (still) {
        await discard(part);
        throw damaged(url, still);
      }
    }
    await rename(part, path).catch((error) => {
      throw fileError("write", path, error);
    });
    await rm(`${part}.json`, { force: true });
  });
}

function damaged(url: string, wrong: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `download ${url}: ${wrong}. it was discarded; pull it again, or check your proxy and HF_ENDPOINT`,
  );
}

interface Note {
  readonly url: string;
  /** A strong ETag or a date. */
  readonly validator?: string;
}

/** Brings the part to its full length; tells whether an older part was gone on with. */
async function fetchPart(
  url: string,
  part: string,
  options: DownloadOptions & { readonly client: Client; readonly expected: Expected },
): Promise<boolean> {
  const { signal, retries = 5, retryDelay = 1000 } = options;
  let [failures, resumed] = [0, false];
  for (;;) {
    signal?.throwIfAborted();
    const start = await resumableLength(url, part, options.expected);
    const attempt = await fetchOnce(url, part, start, options);
    if (attempt.done) return resumed || (start > 0 && attempt.resumed);
    resumed ||= start > 0 && attempt.resumed;
    failures = attempt.gained > 0 ? 0 : failures + 1;
    const asked = attempt.wait ?? 0;
    if (failures > retries || asked > longestWait) {
      throw new AlignTokError(
        "unavailable",
        `download ${url}: expected an answer, got ${attempt.problem} ${failures} times in a row${asked > longestWait ? `, to wait ${Math.ceil(asked / 1000)} s` : ""}. what has arrived is kept; run it again later`,
      );
    }
    const delay = retryDelay * 2 ** Math.min(failures, 5) * (0.5 + Math.random() / 2);
    await pause(Math.max(asked, failures === 0 ? 0 : delay), signal);
  }
}

/** Bytes of the part that the next request may go on from. */
async function resumableLength(url: string, part: string, expected: Expected): Promise<number> {
  const { size } = await stat(part).catch(() => ({ size: 0 }));
  if (size === 0) return 0;
  const note = await readNote(part);
  const same = note?.url === url && (note.validator ?? expected.sha256) !== undefined;
  return same && (expected.bytes === undefined || size <= expected.bytes) ? size : 0;
}

async function readNote(part: string): Promise<Note | undefined> {
  try {
    return JSON.parse(await readFile(`${part}.json`, "utf8")) as Note;
  } catch {
    return undefined;
  }
}

interface Attempt {
  readonly done: boolean;
  readonly resumed: boolean;
  readonly gained: number;
  readonly problem: string;
  readonly wait?: number | undefined;
}

async function fetchOnce(
  url: string,
  part: string,
  start: number,
  options: DownloadOptions & { readonly client: Client; readonly expected: Expected },
): Promise<Attempt> {
  const { client, expected, signal, onProgress, task, stallTimeout = 30_000 } = options;
  if (start > 0 && start === expected.bytes) {
    return { done: true, resumed: true, gained: 0, problem: "" };
  }
  const validator = start > 0 ? (await readNote(part))?.validator : undefined;
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(), stallTimeout);
  let [file, position]: [FileHandle | undefined, number] = [undefined, start];
  let resumed = false;
  const failed = (problem: string, wait?: number): Attempt => ({
    done: false,
    resumed,
    gained: position - start,
    problem,
    wait,
  });
  try {
    const response = await request(url, client, {
      signal: signal ? AbortSignal.any([signal, stall.signal]) : stall.signal,
      headers: {
        ...(start > 0 && { range: `bytes=${start}-` }),
        ...(validator && { "if-range": validator }),
      },
    });
    const { status, headers } = response;
    if (status !== 200 && status !== 206) await response.body?.cancel();
    if (status === 416 && start > 0) {
      const total = Number(/\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1]);
      resumed = true;
      if (total === start) return { done: true, resumed, gained: 0, problem: "" };
      await discard(part);
      return failed(`status 416 for byte ${start}`);
    }
    if (isPassing(status)) return failed(`status ${status}`, retryAfter(headers));
    if (status !== 200 && status !== 206) throw refusal(url, response);
    resumed = status === 206;
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    if (resumed && Number(range?.[1]) !== start) {
      await response.body?.cancel();
      await discard(part);
      return failed(`range ${headers.get("content-range")} for byte ${start}`);
    }
    if (!resumed) position = 0;
    const length = headers.get("content-length");
    const stated = length === null ? undefined : position + Number(length);
    const total = expected.bytes ?? stated;
    if (stated !== undefined && total !== stated) {
      await response.body?.cancel();
      await discard(part);
      position = start;
      return failed(`a file of ${stated} bytes instead of ${total}`);
    }
    const etag = headers.get("etag");
    const strong = etag && !etag.startsWith("W/") ? etag : headers.get("last-modified");
    if (!resumed) await writeNote(part, { url, ...(strong && { validator: strong }) });
    file = await open(part, resumed ? "r+" : "w").catch((error) => {
      throw fileError("write", part, error);
    });
    if (response.body) {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(), stallTimeout);
        if (total !== undefined && position + chunk.length > total) {
          await discard(part);
          position = start;
          return failed(`more than ${total} bytes`);
        }
        position += await writeAll(file, chunk, position, part);
        onProgress?.({
          task,
          done: position,
          ...(total !== undefined && { total }),
          unit: "bytes",
        });
      }
    }
    if (total !== undefined && position < total) return failed(`${position} of ${total} bytes`);
    await file.sync();
    return { done: true, resumed, gained: position - start, problem: "" };
  } catch (error) {
    signal?.throwIfAborted();
    if (AlignTokError.isInstance(error)) throw error;
    if (stall.signal.aborted) return failed(`no byte for ${stallTimeout} ms`);
    return failed(describe(error));
  } finally {
    clearTimeout(timer);
    await file?.close();
  }
}

async function writeNote(part: string, note: Note): Promise<void> {
  await writeFile(`${part}.json`, JSON.stringify(note)).catch((error) => {
    throw fileError("write", part, error);
  });
}

/** A full disk leaves the part as far as it came. */
async function writeAll(
  file: FileHandle,
  chunk: Uint8Array,
  position: number,
  part: string,
): Promise<number> {
  try {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done);
      done += bytesWritten;
    }
  } catch (error) {
    throw fileError("write", part, error);
  }
  return chunk.length;
}

async function discard(part: string): Promise<void> {
  await rm(part, { force: true });
  await rm(`${part}.json`, { force: true });
}

/** Why a request failed: fetch says it in the cause. */
export function describe(error: unknown): string {
  const { cause, message } = error as Error;
  const inner = cause instanceof Error ? cause.message || cause.name : "";
  return inner || message || String(error);
}

/** What is wrong with a file on the disk, or nothing. Where no hash is known, it must begin as PyTorch's or safetensors do. */
export async function findFault(
  path: string,
  { bytes, sha256, gitSha1 }: Expected,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<string | undefined> {
  const { size } = await stat(path).catch((error) => {
    throw fileError("read", path, error);
  });
  if (bytes !== undefined && size !== bytes) return `expected ${bytes} bytes, got ${size}`;
  if (sha256 !== undefined) {
    const digest = await hashFile(path, "sha256", signal);
    if (!digest.startsWith(sha256)) return `expected SHA-256 ${sha256}, got ${digest}`;
  } else if (gitSha1 !== undefined) {
    const digest = await hashFile(path, "sha1", signal, `blob ${size}\0`);
    if (digest !== gitSha1) return `expected git object ${gitSha1}, got ${digest}`;
  } else {
    const kind = findFileKind(await readHead(path));
    if (kind !== "zip" && kind !== "pytorch" && kind !== "safetensors") {
      return `expected weights, got ${findStranger(kind)?.got ?? `${size} other bytes`}`;
    }
  }
  return undefined;
}

export async function hashFile(
  path: string,
  algorithm: "sha256" | "sha1",
  signal?: AbortSignal,
  prefix = "",
): Promise<string> {
  const hash = createHash(algorithm).update(prefix);
  try {
    const stream = createReadStream(path, {
      highWaterMark: 2 ** 20,
      ...(signal && { signal }),
    });
    for await (const chunk of stream) hash.update(chunk as Uint8Array);
  } catch (error) {
    signal?.throwIfAborted();
    throw fileError("read", basename(path), error);
  }
  return hash.digest("hex");
}
