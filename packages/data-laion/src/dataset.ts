/** What every kind of image collection looks like here: a list that can be read at any place. */
import { AlignTokError, check } from "@aligntok/core";

/** One image as stored, with what is known of it. */
export interface ImageRecord {
  readonly key: string;
  /** File and member, for messages. */
  readonly name: string;
  /** The encoded image: JPEG, PNG, .... */
  readonly bytes: Uint8Array;
  /** Class index, where the collection has classes. */
  readonly label?: number;
  /** The text that belongs to it; empty where the collection has captions but this image has none. */
  readonly caption?: string;
}

/**
 * Images that can be read in any order: of a folder, an archive, a table or a list. Iterating reads the records one
 * after the other, in the order of the collection.
 */
export interface ImageDataset extends AsyncIterable<ImageRecord> {
  readonly length: number;
  /** Names of the images, in the order of the collection. */
  readonly keys: readonly string[];
  /** Class index of each, where the collection has classes. */
  readonly labels?: Int32Array;
  /** Names of the classes by index, where they have names. */
  readonly classes?: readonly string[];
  /** Whether records have captions. */
  readonly hasCaptions: boolean;
  /** @throws AlignTokError `bad-input` outside 0 to length - 1, `not-found`, `io`, `bad-format` */
  read(index: number): Promise<ImageRecord>;
}

/** An image of a list that a program made itself. */
export interface ListedImage {
  readonly key: string;
  readonly label?: number;
  readonly caption?: string;
  /** The encoded bytes. */
  read(): Promise<Uint8Array>;
}

/**
 * A dataset of images that come from anywhere: a database, memory, another package. Labels are for all or none.
 *
 * ```ts
 * import { readFile } from "node:fs/promises";
 * import { createListDataset } from "@aligntok/data-laion";
 *
 * const images = [{ key: "a", label: 0, read: () => readFile("a.png") }];
 * const dataset = createListDataset(images, { classes: ["cat"] });
 * ```
 *
 * @throws AlignTokError `bad-input` when only some have labels, or a label is no index of `classes`
 */
export function createListDataset(
  images: readonly ListedImage[],
  options: {
    /** Names of the classes. @default none */
    readonly classes?: readonly string[];
  } = {},
): ImageDataset {
  const { classes } = options;
  const hasCaptions = images.some(({ caption }) => caption !== undefined);
  const labels = collectLabels(
    images.map(({ label }) => label),
    (i) => images[i]!.key,
    classes?.length,
  );
  return iterable({
    length: images.length,
    keys: images.map(({ key }) => key),
    ...(labels && { labels }),
    ...(classes && { classes }),
    hasCaptions,
    async read(index) {
      const { key, label, caption, read } = itemAt(images, index);
      return {
        key,
        name: key,
        bytes: await read(),
        ...(label !== undefined && { label }),
        ...(hasCaptions && { caption: caption ?? "" }),
      };
    },
  });
}

/**
 * Some images of a dataset, in the order of `indices`: a split, a class, the first hundred. Classes keep their indices.
 *
 * @throws AlignTokError `bad-input` for an index outside the dataset
 */
export function selectImages(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset {
  const chosen = Array.from(indices);
  const keys = chosen.map((index) => itemAt(dataset.keys, index));
  const { labels, classes, hasCaptions } = dataset;
  return iterable({
    length: chosen.length,
    keys,
    ...(labels && { labels: Int32Array.from(chosen, (index) => labels[index]!) }),
    ...(classes && { classes }),
    hasCaptions,
    read: async (index) => dataset.read(itemAt(chosen, index)),
  });
}

/**
 * The same images with the class indices of another collection, found by the classes' names: -1 for a class that it does
 * not have, and for all where the dataset has no classes. As it is where one of the two has no names.
 */
export function matchClasses(
  dataset: ImageDataset,
  { labels: known, classes: names }: Pick<ImageDataset, "labels" | "classes">,
): ImageDataset {
  if (!known || (dataset.labels && !(dataset.classes && names))) return dataset;
  const own = dataset.classes?.map((name) => names!.indexOf(name)) ?? [];
  const labels = Int32Array.from(
    { length: dataset.length },
    (_, i) => own[dataset.labels?.[i] ?? -1] ?? -1,
  );
  return iterable({
    ...dataset,
    labels,
    ...(names && { classes: names }),
    read: async (index) => ({ ...(await dataset.read(index)), label: labels[index]! }),
  });
}

/** A dataset of its parts: what iterates over it follows from `length` and `read`. */
export function iterable(parts: Omit<ImageDataset, typeof Symbol.asyncIterator>): ImageDataset {
  const { length, read } = parts;
  return {
    ...parts,
    async *[Symbol.asyncIterator]() {
      for (let index = 0; index < length; index++) yield await read(index);
    },
  };
}

/** @throws AlignTokError `bad-input` outside the list */
export function itemAt<T>(items: readonly T[], index: number): T {
  check(
    Number.isInteger(index) && index >= 0 && index < items.length,
    () => `image ${index}: expected an index from 0 to ${items.length - 1}`,
  );
  return items[index] as T;
}

/**
 * Labels of all images, or undefined when none has one.
 *
 * @throws AlignTokError `bad-input` when some have none, or one is not a whole number in range
 */
export function collectLabels(
  labels: readonly (number | undefined)[],
  nameOf: (index: number) => string,
  classCount = 2 ** 31,
): Int32Array | undefined {
  if (labels.every((label) => label === undefined)) return undefined;
  for (const [i, label] of labels.entries()) {
    if (label === undefined || !Number.isInteger(label) || label < 0 || label >= classCount) {
      throw new AlignTokError(
        "bad-input",
        `${nameOf(i)}: expected a class index from 0 to ${classCount - 1}, as other images have, got ${label}`,
      );
    }
  }
  return Int32Array.from(labels as readonly number[]);
}
