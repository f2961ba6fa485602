/**
 * Batches of decoded images in an order that is a pure function of (seed, epoch): the state is three numbers, and a
 * run that continues from it sees exactly what an uninterrupted one would have seen.
 */
import {
  AlignTokError,
  check,
  createRandom,
  heightAndWidth,
  type ImageBatch,
  type ImageSource,
  type Images,
  ndarray,
  type PixelSize,
  type SourceState,
} from "@aligntok/core";
import type { ImageDataset, ImageRecord } from "./dataset.ts";
import { type Crop, prepareImage } from "./prepare.ts";
import { throwIfAborted } from "./tar.ts";

export interface ImageSourceOptions {
  readonly batchSize: number;
  /** Of the images, in pixels. @default images are used as they are, and must be of one size */
  readonly size?: PixelSize;
  /**
   * How an image gets its size: resized (bicubic) to just cover it, for squares by its short side, and the centre or a
   * random part kept; or, for squares, ADM's centre crop, which halves by box filter first. @default "center"
   */
  readonly crop?: Crop;
  /** Mirrors each image with probability one half. @default false */
  readonly flip?: boolean;
  /** @default 0, or the seed of `state` */
  readonly seed?: number;
  /** Draws a new order for each epoch. @default true */
  readonly shuffle?: boolean;
  /** Passes over the images; `Infinity` for training. @default 1 */
  readonly epochs?: number;
  /** Leaves out the last batch of an epoch when it is not full. @default false */
  readonly dropLast?: boolean;
  /** Where to continue, from `state()` of an equal source. @default the start */
  readonly state?: SourceState;
  /**
   * What an image that is missing or cannot be decoded means: an error; that it is left out, so that batches move up; or
   * that the image after it in the dataset stands in for it, so that every other one keeps its place, as training that
   * resumes by the number of its step needs. `skipped()` counts the latter two. @default "raise"
   */
  readonly onError?: "raise" | "skip" | "replace";
  /** Batches that are read and decoded ahead of the one asked for. @default 2 */
  readonly prefetch?: number;
}

/** An ImageSource that counts what it passed over. */
export interface CountingImageSource extends ImageSource {
  /** Images passed over so far, by error code. */
  skipped(): Readonly<Record<string, number>>;
}

/** Images being read and decoded at one time; more only costs memory, since decoding has four threads. */
const mostAtOnce = 8;

/** Images in a row that another may stand in for: more are no accident. */
const mostReplaced = 100;

/** Causes that lie in one image. Others, such as a failing disk, would hit all and always raise. */
const causesOfOne: readonly string[] = ["bad-format", "unsupported", "not-found", "bad-input"];

/** The order in which an epoch visits `length` images. */
export function epochOrder(
  length: number,
  options: { readonly seed: number; readonly epoch: number; readonly shuffle: boolean },
): Uint32Array {
  const { seed, epoch, shuffle } = options;
  if (!shuffle) return Uint32Array.from({ length }, (_, i) => i);
  return createRandom(seed, "image-order", epoch).permutation(length);
}

/**
 * A source of `(N, H, W, 3)` batches. Order, crops and flips depend on nothing but the dataset, the seed, the
 * epoch and the position. One iteration at a time; a new `batches()` continues where the last batch ended.
 *
 * ```ts
 * import { createImageSource, openImages } from "@aligntok/data-laion";
 *
 * const dataset = await openImages("photos");
 * const source = createImageSource(dataset, { size: 256, batchSize: 16, seed: 1, epochs: 2 });
 * for await (const { images, keys } of source.batches()) console.log(images.shape, keys);
 * const state = source.state(); // save it, and give it to the next createImageSource
 * ```
 *
 * @throws AlignTokError `bad-input` for options that do not fit the dataset. Iterating throws what reading and decoding
 * throw, naming file and member, `bad-input` for images of unequal size where no `size` is given, and `aborted`
 */
export function createImageSource(
  dataset: ImageDataset,
  options: ImageSourceOptions,
): CountingImageSource {
  const { batchSize, size, crop = "center", flip = false, shuffle = true } = options;
  const { epochs = 1, dropLast = false, onError = "raise", prefetch = 2 } = options;
  const seed = options.seed ?? options.state?.seed ?? 0;
  checkOptions(dataset, { ...options, seed, epochs, dropLast, prefetch });
  let state: SourceState = options.state ?? { epoch: 0, position: 0, seed };
  const skipped: Record<string, number> = {};

  /** Reads and decodes what stands at one position; never rejects. */
  async function load(index: number, epoch: number, position: number): Promise<Loaded> {
    try {
      const record = await dataset.read(index % dataset.length);
      const random = createRandom(seed, "image-crop", epoch, position);
      const image = await prepareImage(record, {
        crop,
        flip,
        random,
        ...(size !== undefined && { size }),
      });
      return { record, image };
    } catch (error) {
      return { error };
    }
  }

  /** The first of the images from `index` on that can be decoded. */
  async function loadOrReplace(index: number, epoch: number, position: number): Promise<Loaded> {
    for (let i = 0; ; i++) {
      const loaded = await load(index + i, epoch, position);
      if ("image" in loaded || !countSkipped(loaded.error) || i === mostReplaced) return loaded;
    }
  }

  async function* epochBatches(signal?: AbortSignal): AsyncGenerator<ImageBatch, void> {
    const { epoch, position: start } = state;
    const loadHere = onError === "replace" ? loadOrReplace : load;
    const order = epochOrder(dataset.length, { seed, epoch, shuffle });
    const gate = createGate(mostAtOnce);
    const ahead: Promise<Loaded>[] = [];
    let launched = start;
    let batch: { record: ImageRecord; image: Images }[] = [];
    let delivered = 0;
    for (let position = start; position < order.length; position++) {
      // Launching only as positions are consumed is the back-pressure: a slow consumer stops the reading.
      while (launched < order.length && launched < position + batchSize * (prefetch + 1)) {
        const at = launched++;
        ahead.push(gate(() => loadHere(order[at]!, epoch, at)));
      }
      throwIfAborted(signal, "reading images");
      const loaded = await untilAborted(ahead.shift()!, signal);
      if ("image" in loaded) batch.push(loaded);
      else if (onError !== "skip" || !countSkipped(loaded.error)) throw loaded.error;
      if (batch.length < batchSize) continue;
      const full = joinBatch(batch, dataset);
      batch = [];
      delivered++;
      state = after(epoch, position + 1);
      yield full;
    }
    if (batch.length > 0 && !dropLast) {
      const rest = joinBatch(batch, dataset);
      delivered++;
      state = after(epoch, order.length);
      yield rest;
    }
    state = after(epoch, order.length);
    if (delivered === 0 && start === 0) {
      throw new AlignTokError(
        "bad-input",
        `images: expected a batch of ${batchSize} from ${dataset.length} images, got none in a whole epoch (skipped: ${JSON.stringify(skipped)})`,
      );
    }
  }

  function after(epoch: number, position: number): SourceState {
    return position < dataset.length
      ? { epoch, position, seed }
      : { epoch: epoch + 1, position: 0, seed };
  }

  /** Counts an error that concerns one image alone; others are not counted. */
  function countSkipped(error: unknown): boolean {
    const code = AlignTokError.isInstance(error) ? error.code : "";
    if (!causesOfOne.includes(code)) return false;
    skipped[code] = (skipped[code] ?? 0) + 1;
    return true;
  }

  return {
    async *batches({ signal } = {}) {
      while (state.epoch < epochs) yield* epochBatches(signal);
    },
    state: () => state,
    skipped: () => ({ ...skipped }),
  };
}

type Loaded =
  | { readonly record: ImageRecord; readonly image: Images }
  | { readonly error: unknown };

function checkOptions(
  { length }: ImageDataset,
  options: ImageSourceOptions & {
    readonly seed: number;
    readonly epochs: number;
    readonly prefetch: number;
  },
): void {
  const { batchSize, size, seed, epochs, dropLast, prefetch, state } = options;
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least;
  const sides = size === undefined ? [] : heightAndWidth(size);
  check(length > 0, "images: expected at least one, got none");
  check(whole(batchSize, 1), `batchSize: expected a whole number from 1, got ${batchSize}`);
  check(
    sides.every((side) => whole(side, 1)),
    `size: expected whole numbers of pixels, got ${size}`,
  );
  check(
    options.crop !== "adm" || sides[0] === sides[1],
    `crop adm: expected a square size, got ${sides.join("x")}. use crop center`,
  );
  check(whole(seed, 0), `seed: expected a whole number from 0, got ${seed}`);
  check(
    epochs === Number.POSITIVE_INFINITY || whole(epochs, 0),
    `epochs: expected a whole number, got ${epochs}`,
  );
  check(whole(prefetch, 0), `prefetch: expected a whole number of batches, got ${prefetch}`);
  check(
    !dropLast || batchSize <= length,
    `batchSize: expected at most the ${length} images, got ${batchSize}. lower it, or set dropLast to false`,
  );
  if (!state) return;
  check(
    state.seed === seed,
    `state: expected one of seed ${seed}, got one of seed ${state.seed}. leave the seed out to take that of the state`,
  );
  check(
    whole(state.epoch, 0) && whole(state.position, 0) && state.position < length,
    `state: expected an epoch and a position from 0 to ${length - 1}, got ${state.epoch} and ${state.position}. it is of another dataset`,
  );
}

/** Joins images into one batch, with labels and captions where the dataset has them. */
function joinBatch(
  items: readonly { readonly record: ImageRecord; readonly image: Images }[],
  dataset: ImageDataset,
): ImageBatch {
  const { record: first, image } = items[0]!;
  const [, height = 0, width = 0] = image.shape;
  const data = new Uint8Array(items.length * height * width * 3);
  for (const [i, { record, image }] of items.entries()) {
    const [, h, w] = image.shape;
    check(
      h === height && w === width,
      () =>
        `${record.name}: expected ${width}x${height} pixels like ${first.name}, got ${w}x${h}. give a size`,
    );
    data.set(image.data, i * height * width * 3);
  }
  const records = items.map(({ record }) => record);
  return {
    images: ndarray(data, [items.length, height, width, 3], "uint8"),
    keys: records.map(({ key }) => key),
    ...(dataset.labels && { labels: Int32Array.from(records, ({ label }) => label ?? -1) }),
    ...(dataset.hasCaptions && { captions: records.map(({ caption }) => caption ?? "") }),
  };
}

/** Runs at most `most` tasks at a time, in the order given. */
function createGate(most: number): <T>(task: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/** The promise's value, or an `aborted` error as soon as the signal fires. The promise must never reject. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    await Promise.race([promise, aborted]);
    throwIfAborted(signal, "reading images");
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
