/** Any number of images decoded beside whoever consumes them: in order, and never many at once. */

import { AlignTokError, check } from "@aligntok/core";
import { decodeImage, readImage } from "./decode.ts";
import { checkCount, type Image } from "./image.ts";
import { type ImageTransform, transformImage } from "./transform.ts";

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
  /** Images that may be ready or under way before the consumer asks for them. @default 8 more than twice the workers */
  readonly ahead?: number;
  /** Whether an image that cannot be read or decoded ends the iteration or is left out. @default "raise" */
  readonly onError?: "raise" | "skip";
  /** Told of each image that was left out, in order. */
  readonly onSkip?: (skipped: SkippedImage) => void;
  /** @default as `decodeImage` */
  readonly maxPixels?: number;
  readonly signal?: AbortSignal;
}

/**
 * Decodes and transforms images beside the consumer. Images come in the order of the source.
 *
 * @throws AlignTokError of `decodeImage` and `readImage` unless skipped, `aborted` when `signal` fires, and whatever the source throws
 */
export async function* decodeImages(
  source: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: DecodeStreamOptions = {},
): AsyncGenerator<DecodedImage, void, undefined> {
  const { transform, onError = "raise", onSkip, maxPixels, signal } = options;
  checkCount(options.ahead ?? 8, "decodeImages ahead");
  check(
    onError === "raise" || onError === "skip",
    () => `decodeImages onError: expected raise or skip, got ${onError}`,
  );
  let index = 0;
  for await (const input of source) {
    if (signal?.aborted) {
      throw new AlignTokError("aborted", "decodeImages: aborted", { cause: signal.reason });
    }
    const key = keyOf(input, index);
    try {
      const decoded = await decodeInput(input, key, maxPixels);
      const image = transform ? transformImage(decoded, transform) : decoded;
      yield { key, index, image };
    } catch (error) {
      if (onError === "raise" || !AlignTokError.isInstance(error)) throw error;
      onSkip?.({ key, index, error });
    }
    index++;
  }
}

function keyOf(input: ImageInput, index: number): string {
  if (typeof input === "string") return input;
  return "key" in input ? input.key : String(index);
}

async function decodeInput(input: ImageInput, key: string, maxPixels?: number): Promise<Image> {
  const limit = maxPixels === undefined ? {} : { maxPixels };
  if (typeof input === "string") return readImage(input, limit);
  if (input instanceof Uint8Array) return decodeImage(input, { name: `image ${key}`, ...limit });
  if ("dtype" in input) return input;
  const bytes = "bytes" in input ? input.bytes : await input.read();
  return decodeImage(bytes, { name: input.name ?? key, ...limit });
}
