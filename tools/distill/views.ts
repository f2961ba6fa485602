/** The photographs to learn from, as pairs of one crop at two sizes. */
import { join } from "node:path";
import { createRandom, type Images, type NdArray, type Random, rows, zeros } from "@aligntok/core";
import {
  createImageSource,
  type ImageDataset,
  openImages,
  selectImages,
} from "@aligntok/data-laion";
import { decodeImage, type Image, resize } from "@aligntok/image";
import { readSamplePhotographs } from "@aligntok/samples";

/** Side of what the student sees; the teacher sees the same crop at twice the side. */
export const side = 128;

/** Flowers from this index on are never trained on: the probe is measured on them. */
export const heldOutFlowers = 600;

export interface Views {
  /** `(N, side, side, 3)` */
  readonly small: Images;
  /** `(N, 2 side, 2 side, 3)` */
  readonly large: Images;
}

/** Every training photograph of the data folder and the sample photographs: `read(i)` and how many crops of each. */
async function collect(data: string): Promise<{ read: () => Promise<Image>; crops: number }[]> {
  const items: { read: () => Promise<Image>; crops: number }[] = [];
  const addAll = (dataset: ImageDataset, crops: number) => {
    for (let i = 0; i < dataset.length; i++) {
      items.push({
        crops,
        read: async () => {
          const { bytes, name } = await dataset.read(i);
          return decodeImage(bytes, { name });
        },
      });
    }
  };
  const flowers = await openImages(join(data, "flowers", "flowers-256.tar"));
  addAll(
    selectImages(
      flowers,
      Array.from({ length: heldOutFlowers }, (_, i) => i),
    ),
    6,
  );
  addAll(await openImages(join(data, "imagenet-256")), 8);
  addAll(await openImages(join(data, "coco-captions-256", "*.jpg")), 8);
  addAll(await openImages(join(data, "kodak", "*.png")), 16);
  const tiny = await openImages(join(data, "tiny-imagenet-64.tar"), { image: "jpeg" });
  addAll(
    selectImages(
      tiny,
      Array.from({ length: tiny.length }, (_, i) => i).filter((i) => i % 3 === 0),
    ),
    1,
  );
  const { photographs } = await readSamplePhotographs();
  for (const photograph of photographs) {
    if (photograph.split !== "train") continue;
    items.push({
      crops: 6,
      read: async () => decodeImage(await photograph.read(), { name: photograph.key }),
    });
  }
  return items;
}

/** All crops: the first of each photograph is the whole centre square, the others are random. */
export async function readViews(data: string, seed: number): Promise<Views> {
  const items = await collect(data);
  const count = items.reduce((sum, { crops }) => sum + crops, 0);
  const views = {
    small: zeros([count, side, side, 3], "uint8"),
    large: zeros([count, 2 * side, 2 * side, 3], "uint8"),
  };
  let index = 0;
  for (const [i, { read, crops }] of items.entries()) {
    const image = await read();
    const random = createRandom(seed, "views", i);
    for (let crop = 0; crop < crops; crop++) {
      const large = resize(cutSquare(image, crop === 0 ? undefined : random), {
        width: 2 * side,
        height: 2 * side,
      });
      place(views.large, index, large);
      place(views.small, index, resize(large, { width: side, height: side }));
      index++;
    }
  }
  return views;
}

function place(images: Images, index: number, image: Image): void {
  rows(images, index, index + 1).data.set(image.data);
}

/** The largest centred square, or a random one of half to all of its side, flipped half of the time. */
function cutSquare(image: Image, random: Random | undefined): Image {
  const [height, width] = image.shape as [number, number, number];
  const whole = Math.min(height, width);
  const cut = random ? Math.round(whole * (0.5 + 0.5 * random.uniform())) : whole;
  const top = random ? random.integer(height - cut + 1) : (height - cut) >> 1;
  const left = random ? random.integer(width - cut + 1) : (width - cut) >> 1;
  const flip = random ? random.uniform() < 0.5 : false;
  const out: NdArray<"uint8"> = zeros([cut, cut, 3], "uint8");
  for (let y = 0; y < cut; y++) {
    for (let x = 0; x < cut; x++) {
      const from = ((top + y) * width + left + (flip ? cut - 1 - x : x)) * 3;
      out.data.set(image.data.subarray(from, from + 3), (y * cut + x) * 3);
    }
  }
  return out;
}

/** All flowers at `size` px with their classes, in the order of the shard: 600 to fit a probe, 200 held out. */
export async function readFlowers(
  data: string,
  size: number,
): Promise<{ images: Images; labels: Int32Array }> {
  const dataset = await openImages(join(data, "flowers", "flowers-256.tar"));
  const images = zeros([dataset.length, size, size, 3], "uint8");
  const source = createImageSource(dataset, { batchSize: 16, size, shuffle: false });
  let index = 0;
  for await (const batch of source.batches()) {
    images.data.set(batch.images.data, index * size * size * 3);
    index += batch.images.shape[0]!;
  }
  return { images, labels: dataset.labels! };
}
