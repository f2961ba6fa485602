/** One input of `decodeImages`: bytes, a path or pixels to an image, in whichever thread this runs. */

import { decodeImage, readBytes } from "./decode.ts";
import type { Image } from "./image.ts";
import { type ImageTransform, transformImage } from "./transform.ts";

export interface DecodeTask {
  /** What errors call it. */
  readonly name: string;
  readonly from: { readonly path: string } | { readonly bytes: Uint8Array } | Image;
  readonly transform: ImageTransform;
  readonly maxPixels: number | undefined;
}

/** Tasks under way in a thread: one is decoded by libvips while another is resized. */
export const tasksAtOnce = 2;

/** The result has memory of its own. */
export async function decodeTask({ name, from, transform, maxPixels }: DecodeTask): Promise<Image> {
  const limit = maxPixels === undefined ? {} : { maxPixels };
  if ("dtype" in from) return transformImage(from, transform, limit);
  const bytes = "path" in from ? await readBytes(from.path) : from.bytes;
  return transformImage(await decodeImage(bytes, { name, ...limit }), transform, limit);
}
