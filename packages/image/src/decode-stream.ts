/** Any number of images decoded beside whoever consumes them: in order, and never many at once. */

import { availableParallelism } from "node:os";
import { AlignTokError, check, listSome } from "@aligntok/core";
import type { DecodeTask } from "./decode-input.ts";
import { openDecoder } from "./decode-threads.ts";
import { checkCount, type Image } from "./image.ts";
import type { ImageTransform } from "./transform.ts";

/**
 * What can be decoded: a path, the bytes of a file, either of them under a key, or pixels. `name` is what errors
 * call an image; @default the key.
 */
export type ImageInput =
  | string
  | Uint8Array
  | { readonly key: string; readonly name?: string; readonly bytes: Uint8Array }
  | { readonly key: string; readonly name?: string; read(): Promise<Uint8Array> }
  | Image;

export interface DecodedImage {
  /** The input's key, the path, or for others the index as text. */
  readonly key: string;
  /** Place of the input in the source, from 0. */
  readonly index: number;
  readonly image: Image;
}

export interface SkippedImage {
  readonly key: string;
  readonly index: number;
  readonly error: AlignTokError;
}

export interface DecodeStreamOptions {
  /** @default none: images as they are */
  readonly transform?: ImageTransform;
  /** Threads that decode; 0 decodes in this one. @default one less than there are cores, at least 1 and at most 4 */
  readonly workers?: number;
  /** Images that may be ready or under way before the consumer asks for them. @default 16 */
  readonly ahead?: number;
  /** Whether an image that cannot be read or decoded ends the iteration or is left out. @default "raise" */
  readonly onError?: "raise" | "skip";
  /** Told of each image that was left out, in order. */
  readonly onSkip?: (skipped: SkippedImage) => void;
  /** Of a file, and of what the transform makes of it. @default as `decodeImage` */
  readonly maxPixels?: number;
  readonly signal?: AbortSignal;
}

/** What became of an input; a `fatal` error ends the iteration. */
type Outcome = { readonly image: Image } | { readonly error: unknown; readonly fatal: boolean };

interface Slot {
  readonly key: string;
  readonly index: number;
  outcome?: Outcome;
}

/**
 * Decodes and transforms images beside the consumer, in threads that end with the iteration and never keep the
 * process alive. Images come in the order of the source, which is read no farther than `ahead` images beyond the
 * consumer.
 *
 * The threads turn off libvips's cache and its own threads (`sharp.cache(false)`, `sharp.concurrency(1)`) for the
 * whole process: without, memory would grow with the number of different images.
 *
 * @throws AlignTokError of `decodeImage` and `readImage` unless skipped, and `io` when an input's `read()` rejects, with
 * its reason as cause; `aborted` when `signal` fires; `unavailable` or `out-of-memory` when a thread dies; `bad-input`
 * for a source or an input of another kind; and whatever the source throws
 */
export async function* decodeImages(
  source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: DecodeStreamOptions = {},
): AsyncGenerator<DecodedImage, void, undefined> {
  const { transform = {}, ahead = 16, onError = "raise", onSkip, maxPixels, signal } = options;
  const { workers = Math.min(4, Math.max(1, availableParallelism() - 1)) } = options;
  checkCount(ahead, "decodeImages ahead");
  check(
    Number.isSafeInteger(workers) && workers >= 0,
    () => `decodeImages workers: expected a whole number of at least 0, got ${workers}`,
  );
  check(
    onError === "raise" || onError === "skip",
    () => `decodeImages onError: expected raise or skip, got ${onError}`,
  );

  checkSource(source);

  const decoder = openDecoder(workers);
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  /** Oldest first. */
  const slots: Slot[] = [];
  let count = 0;
  let pulling = false;
  let exhausted = false;
  let wake = () => {};
  const wakeUp = () => wake();

  /** Takes inputs, one after the other, while there is room. */
  async function pull(): Promise<void> {
    if (pulling) return;
    pulling = true;
    while (!exhausted && slots.length < ahead) {
      const slot: Slot = { key: String(count), index: count++ };
      try {
        const { done, value } = await iterator.next();
        if (done || exhausted) exhausted = true;
        else void fill(slots[slots.push({ ...slot, key: keyOf(value, slot.index) }) - 1]!, value);
      } catch (error) {
        exhausted = true;
        slots.push({ ...slot, outcome: { error, fatal: true } });
      }
      wakeUp();
    }
    pulling = false;
  }

  async function fill(slot: Slot, input: ImageInput): Promise<void> {
    try {
      const task = await taskOf(input, slot.key);
      slot.outcome = { image: await decoder.decode({ ...task, transform, maxPixels }) };
    } catch (error) {
      slot.outcome = { error, fatal: onError === "raise" || !concernsOneImage(error) };
    }
    wakeUp();
  }

  signal?.addEventListener("abort", wakeUp);
  try {
    for (;;) {
      if (signal?.aborted) {
        throw new AlignTokError("aborted", "decodeImages: aborted", { cause: signal.reason });
      }
      void pull();
      const { key, index, outcome } = slots[0] ?? {};
      if (key === undefined && exhausted) return;
      if (key === undefined || index === undefined || !outcome) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      slots.shift();
      void pull();
      if ("image" in outcome) yield { key, index, image: outcome.image };
      else if (outcome.fatal) throw outcome.error;
      else onSkip?.({ key, index, error: outcome.error as AlignTokError });
    }
  } finally {
    signal?.removeEventListener("abort", wakeUp);
    decoder.end();
    if (!exhausted) {
      exhausted = true;
      // a source that never answers must not hold up the end
      const closed = iterator.return?.();
      if (pulling) Promise.resolve(closed).catch(() => {});
      else await closed;
    }
  }
}

/** Whether the next image may be better. */
function concernsOneImage(error: unknown): boolean {
  if (!AlignTokError.isInstance(error)) return false;
  return error.code !== "unavailable" && error.code !== "out-of-memory" && error.code !== "aborted";
}

/** A path and the bytes of one file are iterable too, letter by letter. */
function checkSource(source: unknown): void {
  const isIterable =
    typeof source === "object" &&
    source !== null &&
    (Symbol.iterator in source || Symbol.asyncIterator in source);
  check(
    isIterable && !ArrayBuffer.isView(source),
    () =>
      `images: expected an iterable of paths, bytes, records or images, got ${kindOf(source)}. put a single one into a list`,
  );
}

function keyOf(input: unknown, index: number): string {
  if (typeof input === "string") return input;
  return isRecord(input) && typeof input.key === "string" ? input.key : String(index);
}

async function taskOf(input: ImageInput, key: string): Promise<Pick<DecodeTask, "name" | "from">> {
  if (typeof input === "string") return { name: input, from: { path: input } };
  if (input instanceof Uint8Array) return { name: `image ${key}`, from: { bytes: input } };
  check(
    typeof input === "object" && input && ["dtype", "bytes", "read"].some((key) => key in input),
    () =>
      `image ${key}: expected a path, bytes, { key, bytes }, { key, read } or decoded pixels, got ${kindOf(input)}. a URL becomes a path by fileURLToPath`,
  );
  if ("dtype" in input) return { name: `image ${key}`, from: input };
  const name = input.name ?? key;
  const bytes = "bytes" in input ? input.bytes : await readRecord(input, name);
  check(
    bytes instanceof Uint8Array,
    () => `${name}: expected the bytes of an image file as a Uint8Array, got ${kindOf(bytes)}`,
  );
  return { name, from: { bytes } };
}

async function readRecord(
  record: { read(): Promise<Uint8Array> },
  name: string,
): Promise<Uint8Array> {
  try {
    return await record.read();
  } catch (cause) {
    if (AlignTokError.isInstance(cause)) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AlignTokError("io", `${name}: expected read() to give bytes, got ${reason}`, {
      cause,
    });
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function kindOf(value: unknown): string {
  if (!isRecord(value)) return value === null ? "null" : typeof value;
  const name = value.constructor?.name ?? "Object";
  return name === "Object" ? `an object of ${listSome(Object.keys(value)) || "nothing"}` : name;
}
