/** From an encoded image to pixels of the wanted size. */
import { heightAndWidth, type Images, ndarray, type PixelSize, type Random } from "@aligntok/core";
import {
  centerCropAdm,
  decodeImage,
  type Image,
  type ImageSize,
  mirrorImage,
  transformImage,
} from "@aligntok/image";
import type { ImageRecord } from "./dataset.ts";

export type Crop = "center" | "random" | "adm";

/**
 * Decodes, crops and maybe mirrors an image: `(1, H, W, 3)`, of its own height and width without a size.
 * Random parts and mirrors are drawn from `random`, always three numbers, so options do not shift one another.
 *
 * @throws AlignTokError `bad-format` or `unsupported` naming the file and member
 */
export async function prepareImage(
  record: ImageRecord,
  options: {
    readonly size?: PixelSize;
    readonly crop: Crop;
    readonly flip: boolean;
    readonly random: Random;
  },
): Promise<Images> {
  const { size, crop, flip, random } = options;
  const [across, down, mirror] = [random.uniform(), random.uniform(), random.uniform()];
  const decoded = await decodeImage(record.bytes, { name: record.name });
  const cropped = size === undefined ? decoded : toSize(decoded, { size, crop, across, down });
  const image = flip && mirror < 0.5 ? mirrorImage(cropped) : cropped;
  return ndarray(image.data, [1, ...image.shape], "uint8");
}

function toSize(
  image: Image,
  options: {
    readonly size: PixelSize;
    readonly crop: Crop;
    readonly across: number;
    readonly down: number;
  },
): Image {
  const [height, width] = heightAndWidth(options.size);
  if (options.crop === "adm") return centerCropAdm(image, height);
  const crop = { height, width };
  const resize = covering(image, crop);
  if (options.crop === "center") return transformImage(image, { resize, crop });
  return part(transformImage(image, { resize }), crop, options);
}

/** The least size of an image's own aspect that covers another: torchvision's `Resize(side)` for a square. */
function covering({ shape }: Image, { height, width }: ImageSize): ImageSize {
  const [ownHeight = 0, ownWidth = 0] = shape;
  return height * ownWidth >= width * ownHeight
    ? { height, width: Math.floor((height * ownWidth) / ownHeight) }
    : { height: Math.floor((width * ownHeight) / ownWidth), width };
}

/** The part of that size which lies `across` and `down` of the way through the room there is. */
function part(
  image: Image,
  { height, width }: ImageSize,
  { across, down }: { readonly across: number; readonly down: number },
): Image {
  const [rows = 0, columns = 0] = image.shape;
  const left = Math.floor(across * (columns - width + 1));
  const top = Math.floor(down * (rows - height + 1));
  const data = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * columns + left) * 3;
    data.set(image.data.subarray(start, start + width * 3), y * width * 3);
  }
  return ndarray(data, [height, width, 3], "uint8");
}
