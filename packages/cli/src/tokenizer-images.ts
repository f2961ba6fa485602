/** Which images a tokenizer gets and in which size: the options of every command that encodes, and what they mean. */
import { check, heightAndWidth, type Images, ndarray, type PixelSize } from "@aligntok/core";
import type { CountingImageSource, ImageDataset } from "@aligntok/data-laion";
import { type Command, InvalidArgumentError, Option } from "commander";
import { onErrorOption } from "./on-error-option.ts";
import { wholeNumber } from "./session.ts";

export interface ImagesChoice {
  readonly images: readonly string[];
  readonly size?: PixelSize | "own";
  readonly maxSize?: number;
  readonly crop: "center" | "adm";
  readonly onError: "raise" | "skip";
  /** Images at a time. */
  readonly batch: number;
}

export function addImagesOptions(command: Command): Command {
  return command
    .requiredOption(
      "--images <paths...>",
      "folder (sub-folders are classes), glob, tar shards, zip, npz, Parquet, files",
    )
    .addOption(
      new Option(
        "--size <size>",
        "side of square images, HEIGHTxWIDTH, or own: each in its own size (default: the size it was trained on, or 256)",
      ).argParser(parseSize),
    )
    .addOption(
      new Option(
        "--max-size <pixels>",
        "of --size own: the long side of larger images is reduced to it, bicubic as Pillow does it",
      ).argParser(wholeNumber(1)),
    )
    .addOption(
      new Option(
        "--crop <how>",
        "center: resized to just cover the size, bicubic as Pillow does it; adm: halved by box filter first, as for ImageNet's latents",
      )
        .choices(["center", "adm"])
        .default("center"),
    )
    .addOption(onErrorOption())
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8));
}

/** Parser of `256`, `256x384` or `own`. */
function parseSize(text: string): PixelSize | "own" {
  if (text === "own") return text;
  const [, height, width] = /^([1-9]\d{0,8})(?:x([1-9]\d{0,8}))?$/.exec(text) ?? [];
  if (height === undefined) {
    throw new InvalidArgumentError("expected pixels such as 256 or 256x384, or own.");
  }
  return width === undefined ? Number(height) : [Number(height), Number(width)];
}

/** For the answers of commands. */
export function describeSize(size: PixelSize | "own"): string {
  return size === "own" ? "their own size" : `${heightAndWidth(size).join("x")} px`;
}

/** What `--images` names, with the sizes that they are to have. */
export interface TokenizerImages {
  readonly dataset: ImageDataset;
  readonly size: PixelSize | "own";
  /** All that decides the pixels besides the images themselves, for a name of the run. */
  readonly recipe: readonly unknown[];
  /** Images in order, besides those at the places `done`; those of one batch have one size. */
  read(done: readonly number[], options: { readonly signal: AbortSignal }): ImageStream;
}

export interface ImageStream {
  readonly batches: AsyncIterable<TokenizerBatch>;
  /** Images left out so far, by cause. */
  skipped(): Readonly<Record<string, number>>;
}

export interface TokenizerBatch {
  /** `(N, H, W, 3)`. */
  readonly images: Images;
  /** Places in the dataset, ascending; those that cannot be read are left out. */
  readonly indices: readonly number[];
  readonly keys: readonly string[];
}

/**
 * Opens them.
 *
 * @param usual size of the images where `--size` does not say
 * @throws AlignTokError what `openImages` throws; `bad-input` for `--max-size` without `--size own`
 */
export async function openTokenizerImages(
  choice: ImagesChoice,
  usual: PixelSize,
): Promise<TokenizerImages> {
  const { createImageSource, openImages, selectImages } = await import("@aligntok/data-laion");
  const { size = usual, maxSize, crop, onError } = choice;
  check(
    maxSize === undefined || size === "own",
    () =>
      `--max-size ${maxSize}: expected --size own with it, got --size ${size}. add --size own, or leave --max-size out`,
  );
  const dataset = await openImages(choice.images);
  // images of their own sizes go one by one
  const shaped = size === "own" ? { batchSize: 1 } : { batchSize: choice.batch, size };
  return {
    dataset,
    size,
    recipe: [size, maxSize, crop],
    read(done, { signal }) {
      const isDone = new Set(done);
      const left = [...dataset.keys.keys()].filter((place) => !isDone.has(place));
      if (left.length === 0) return nothingLeft;
      // those that are done stand first, where a source that goes on from a state has been
      const source = createImageSource(selectImages(dataset, [...done, ...left]), {
        ...{ ...shaped, crop, onError, shuffle: false },
        state: { epoch: 0, position: done.length, seed: 0 },
      });
      return {
        batches: placed(source, { keys: dataset.keys, left, signal, maxSize }),
        skipped: source.skipped,
      };
    },
  };
}

/** What a run that was interrupted after its last image goes on with. */
const nothingLeft: ImageStream = { batches: (async function* () {})(), skipped: () => ({}) };

interface Reading {
  readonly keys: readonly string[];
  /** Places of the images that the source has left. */
  readonly left: readonly number[];
  readonly signal: AbortSignal;
  readonly maxSize: number | undefined;
}

async function* placed(
  source: CountingImageSource,
  { keys: all, left, signal, maxSize }: Reading,
): AsyncGenerator<TokenizerBatch> {
  let next = 0;
  for await (const { images, keys } of source.batches({ signal })) {
    // batches come in the order of the dataset, with some left out
    const indices = keys.map((key) => {
      while (all[left[next]!] !== key) next++;
      return left[next++]!;
    });
    yield { images: maxSize ? await reduced(images, maxSize) : images, indices, keys };
  }
}

/** One image `(1, H, W, 3)` with no side above `most`; the other side is rounded. */
async function reduced(images: Images, most: number): Promise<Images> {
  const [, height = 0, width = 0] = images.shape;
  const scale = most / Math.max(height, width);
  if (scale >= 1) return images;
  const { transformImage } = await import("@aligntok/image");
  const side = (pixels: number) => Math.max(1, Math.round(pixels * scale));
  const { data, shape } = transformImage(ndarray(images.data, [height, width, 3], "uint8"), {
    resize: { height: side(height), width: side(width) },
  });
  return ndarray(data, [1, ...shape], "uint8");
}
