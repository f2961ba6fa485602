/** The images of a training: batches by the number of the step, and the ones that are held out. */
import { createHash } from "node:crypto";
import {
  check,
  createRandom,
  heightAndWidth,
  type ImageBatch,
  type PixelSize,
  rows,
  zeros,
} from "@aligntok/core";
import {
  type CountingImageSource,
  createImageSource,
  createListDataset,
  type ImageDataset,
  matchClasses,
  openImages,
  selectImages,
} from "@aligntok/data-laion";
import { readSamplePhotographs } from "@aligntok/samples";
import type { LabelledImages } from "../run/measure.ts";
import type { TokenizerConfigFile } from "./tokenizer-config.ts";

export interface TrainingImages {
  readonly train: ImageDataset;
  readonly heldOut: ImageDataset;
}

/** Opens the images of a configuration and keeps some aside. */
export async function openTrainingImages(
  { images, heldOut = 64 }: TokenizerConfigFile["data"],
  seed: number,
): Promise<TrainingImages> {
  if (images === "samples") return openSamples();
  const all = await openImages(images);
  if (typeof heldOut === "string") {
    const others = await openImages(heldOut);
    check(
      others.length >= leastHeldOut,
      () =>
        `data.heldOut: expected at least ${leastHeldOut} images in ${heldOut}, got ${others.length}. add some`,
    );
    return { train: all, heldOut: matchClasses(others, all) };
  }
  check(
    heldOut < all.length,
    () => `data.heldOut: expected fewer than the ${all.length} images, got ${heldOut}. lower it`,
  );
  const order = createRandom(seed, "held-out").permutation(all.length);
  const part = (from: number, to?: number) => selectImages(all, order.slice(from, to).sort());
  return { train: part(heldOut), heldOut: part(0, heldOut) };
}

/** That a covariance can be computed of. */
const leastHeldOut = 2;

/** Tells the images of another run: a hash of their names and classes, those held out apart. */
export function fingerprintImages({ train, heldOut }: TrainingImages): string {
  const hash = createHash("sha256");
  for (const { keys, labels = [] } of [train, heldOut]) {
    hash.update(JSON.stringify([keys, [...labels]]));
  }
  return hash.digest("hex").slice(0, 16);
}

/** The sample photographs, split as they come. */
export async function openSamples(): Promise<TrainingImages> {
  const { classes, photographs } = await readSamplePhotographs();
  const part = (split: string) =>
    createListDataset(
      photographs.filter((photograph) => photograph.split === split),
      { classes },
    );
  return { train: part("train"), heldOut: part("held-out") };
}

export interface BatchOptions {
  readonly batchSize: number;
  readonly size: PixelSize;
  readonly crop: "random" | "center" | "adm";
  readonly flip: boolean;
  readonly onError: "raise" | "replace";
  readonly seed: number;
  readonly signal: AbortSignal;
}

export interface StepBatches {
  /** The batch of a step. */
  read(step: number): Promise<ImageBatch>;
  /** Images that another stood in for, by error code. */
  skipped(): Readonly<Record<string, number>>;
}

/**
 * The batch of any step, as a function of the seed alone; every epoch visits each image once, but for those that do not
 * fill its last batch. Steps in a row are read ahead; a step out of order opens the images anew at its place.
 */
export function createStepBatches(
  dataset: ImageDataset,
  { signal, ...options }: BatchOptions,
): StepBatches {
  const perEpoch = Math.floor(dataset.length / options.batchSize);
  let next = -1;
  let source: CountingImageSource | undefined;
  let batches: AsyncIterator<ImageBatch> | undefined;
  async function read(step: number): Promise<ImageBatch> {
    if (step !== next || !batches) {
      const state = {
        epoch: Math.floor(step / perEpoch),
        position: (step % perEpoch) * options.batchSize,
        seed: options.seed,
      };
      const endless = { epochs: Number.POSITIVE_INFINITY, dropLast: true, state };
      source = createImageSource(dataset, { ...options, ...endless });
      batches = source.batches({ signal })[Symbol.asyncIterator]();
    }
    next = step + 1;
    return (await batches.next()).value as ImageBatch;
  }
  return { read, skipped: () => source?.skipped() ?? {} };
}

/** Some images of a dataset in memory, centre crops, all of class 0 where there are no classes. */
export async function readLabelled(
  dataset: ImageDataset,
  {
    count,
    size,
    onError,
    signal,
  }: { readonly count: number } & Pick<BatchOptions, "size" | "onError" | "signal">,
): Promise<LabelledImages> {
  const length = Math.min(count, dataset.length);
  const images = zeros([length, ...heightAndWidth(size), 3], "uint8");
  const labels = new Int32Array(length);
  if (length === 0) return { images, labels };
  const some = selectImages(dataset, spread(dataset.length, length));
  const source = createImageSource(some, {
    batchSize: Math.min(32, length),
    size,
    onError,
    shuffle: false,
  });
  let at = 0;
  for await (const batch of source.batches({ signal })) {
    rows(images, at, at + batch.keys.length).data.set(batch.images.data);
    if (batch.labels) labels.set(batch.labels, at);
    at += batch.keys.length;
  }
  return { images, labels };
}

/** `count` indices at equal distances: of all classes where the dataset is sorted by class. */
function spread(length: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor((i * length) / count));
}

/** Names of the classes, their numbers where they have none; one where the images have no classes. */
export function classNames({
  classes,
  labels = Int32Array.of(0),
}: ImageDataset): readonly string[] {
  const count = labels.reduce((most, label) => Math.max(most, label), 0) + 1;
  return classes ?? Array.from({ length: count }, (_, label) => `class ${label}`);
}
