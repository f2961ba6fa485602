/** The photographs of the comparison in memory, and the batches that every training draws of them. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { StageBatch } from "@aligntok/aligntok";
import { type Images, type Random, rows, zeros } from "@aligntok/core";
import {
  createImageSource,
  type ImageDataset,
  openImages,
  selectImages,
} from "@aligntok/data-laion";
import { batchSize, heldOut, imageSize, pooledSize } from "./recipe.ts";

export interface LabelledImages {
  /** `(N, 128, 128, 3)` */
  readonly images: Images;
  readonly labels: Int32Array;
}

export interface Photographs {
  /** A hash of the pixels. */
  readonly fingerprint: string;
  readonly classes: number;
  /** `(N, 144, 144, 3)`, for random crops. */
  readonly pool: Images;
  /** Their centre crops. */
  readonly train: LabelledImages;
  readonly heldOut: LabelledImages;
}

/**
 * @param path the unpacked folder of TensorFlow's flower_photos, of which those of flowers.txt are taken in its order; or
 *   any images with classes, already in random order. The last 200 are held out
 */
export async function readPhotographs(path: string): Promise<Photographs> {
  const dataset = await openPhotographs(path);
  const all = zeros([dataset.length, pooledSize, pooledSize, 3], "uint8");
  const labels = new Int32Array(dataset.length);
  const source = createImageSource(dataset, { batchSize: 32, size: pooledSize, shuffle: false });
  let at = 0;
  for await (const batch of source.batches()) {
    rows(all, at, at + batch.keys.length).data.set(batch.images.data);
    labels.set(batch.labels!, at);
    at += batch.keys.length;
  }
  const trained = dataset.length - heldOut;
  const margin = (pooledSize - imageSize) / 2;
  const part = (start: number, end: number): LabelledImages => {
    const images = zeros([end - start, imageSize, imageSize, 3], "uint8");
    for (let i = start; i < end; i++) {
      copyCrop(all, i, { to: images, row: i - start, top: margin, left: margin, mirrored: false });
    }
    return { images, labels: labels.slice(start, end) };
  };
  return {
    fingerprint: createHash("sha256").update(all.data).digest("hex").slice(0, 16),
    classes: labels.reduce((most, label) => Math.max(most, label), 0) + 1,
    pool: rows(all, 0, trained),
    train: part(0, trained),
    heldOut: part(trained, dataset.length),
  };
}

async function openPhotographs(path: string): Promise<ImageDataset> {
  const all = await openImages(path);
  const places = new Map(all.keys.map((key, i) => [key.replace(/\.\w+$/, ""), i]));
  const list = await readFile(new URL("flowers.txt", import.meta.url), "utf8");
  const chosen = list
    .trim()
    .split("\n")
    .map((name) => places.get(name));
  return chosen.includes(undefined) ? all : selectImages(all, chosen as number[]);
}

/** A batch of random crops, half of them mirrored. */
export function drawBatch(pool: Images, random: Random): StageBatch {
  const images = zeros([batchSize, imageSize, imageSize, 3], "uint8");
  const most = pooledSize - imageSize + 1;
  for (let row = 0; row < batchSize; row++) {
    copyCrop(pool, random.integer(pool.shape[0]!), {
      to: images,
      row,
      top: random.integer(most),
      left: random.integer(most),
      mirrored: random.integer(2) === 1,
    });
  }
  return { images };
}

/** All images mirrored left to right. */
export function mirror(images: Images): Images {
  const mirrored = zeros(images.shape, "uint8");
  for (let row = 0; row < images.shape[0]!; row++) {
    copyCrop(images, row, { to: mirrored, row, top: 0, left: 0, mirrored: true });
  }
  return mirrored;
}

function copyCrop(
  from: Images,
  index: number,
  {
    to,
    row,
    top,
    left,
    mirrored,
  }: {
    readonly to: Images;
    readonly row: number;
    readonly top: number;
    readonly left: number;
    readonly mirrored: boolean;
  },
): void {
  const source = rows(from, index, index + 1).data;
  const target = rows(to, row, row + 1).data;
  const [width, size] = [from.shape[2]!, to.shape[1]!];
  for (let y = 0, out = 0; y < size; y++) {
    for (let x = 0; x < size; x++, out += 3) {
      const at = 3 * ((top + y) * width + left + (mirrored ? size - 1 - x : x));
      target[out] = source[at]!;
      target[out + 1] = source[at + 1]!;
      target[out + 2] = source[at + 2]!;
    }
  }
}
