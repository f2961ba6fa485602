/** From an encoded image to pixels of the wanted size. */
import { type Images, ndarray, type Random } from "@aligntok/core";
import {
  centerCropAdm,
  decodeImage,
  type Image,
  resizeShortSide,
  transformImage,
} from "@aligntok/image";
import type { ImageRecord } from "./dataset.ts";

export type Crop = "center" | "random" | "adm";

/**
 * Decodes, crops and maybe mirrors an image: `(1, size, size, 3)`, or its own height and width without a size.
 * Random parts and mirrors are drawn from `random`, always three numbers, so options do not shift one another.
 *
 * @throws AlignTokError `bad-format` or `unsupported` naming the file and member
 */
export async function prepareImage(
  record: ImageRecord,
  options: {
    readonly size?: number;
    readonly crop: Crop;
    readonly flip: boolean;
    readonly random: Random;
  },
): Promise<Images> {
  const { size, crop, flip, random } = options;
  const [across, down, mirror] = [random.uniform(), random.uniform(), random.uniform()];
  const decoded = await decodeImage(record.bytes, { name: record.name });
  const cropped = size === undefined ? decoded : toSquare(decoded, size, crop, across, down);
  const image = flip && mirror < 0.5 ? mirrored(cropped) : cropped;
  return ndarray(image.data, [1, ...image.shape], "uint8");
}

function toSquare(image: Image, size: number, crop: Crop, across: number, down: number): Image {
  if (crop === "adm") return centerCropAdm(image, size);
  if (crop === "center") return transformImage(image, { resize: size, crop: size });
  return part(resizeShortSide(image, size), size, across, down);
}

/** The square of side `size` that lies `across` and `down` of the way through the room there is. */
function part(image: Image, size: number, across: number, down: number): Image {
  const [height = 0, width = 0] = image.shape;
  const left = Math.floor(across * (width - size + 1));
  const top = Math.floor(down * (height - size + 1));
  const data = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const start = ((top + y) * width + left) * 3;
    data.set(image.data.subarray(start, start + size * 3), y * size * 3);
  }
  return ndarray(data, [size, size, 3], "uint8");
}

function mirrored(image: Image): Image {
  const [height = 0, width = 0] = image.shape;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + width - 1 - x) * 3;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return ndarray(data, [height, width, 3], "uint8");
}
