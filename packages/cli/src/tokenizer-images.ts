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
  /** Images from place `start` on, those of one batch in one size. */
  read(start: number, options: { readonly signal: AbortSignal }): ImageStream;
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
  const { createImageSource, openImages } = await import("@aligntok/data-laion");
  const { size = usual, maxSize, crop, onError } = choice;
  check(
    maxSize === undefined || size === "own",
    () => `--max-size ${maxSize}: expected --size own with it, got --size ${size}`,
  );
  const dataset = await openImages(choice.images);
  // images of their own sizes go one by one
  const shaped = size === "own" ? { batchSize: 1 } : { batchSize: choice.batch, size };
  return {
    dataset,
    size,
    recipe: [size, maxSize, crop],
    read(start, { signal }) {
      if (start === dataset.length) return nothingLeft;
      const source = createImageSource(dataset, {
        ...{ ...shaped, crop, onError, shuffle: false },
        state: { epoch: 0, position: start, seed: 0 },
      });
      return {
        batches: placed(source, { dataset, start, signal, maxSize }),
        skipped: source.skipped,
      };
    },
  };
}

/** What a run that was interrupted after its last image goes on with. */
const nothingLeft: ImageStream = { batches: (async function* () {})(), skipped: () => ({}) };

interface Reading {
  readonly dataset: ImageDataset;
  readonly start: number;
  readonly signal: AbortSignal;
  readonly maxSize: number | undefined;
}

async function* placed(
  source: CountingImageSource,
  { dataset, start, signal, maxSize }: Reading,
): AsyncGenerator<TokenizerBatch> {
  let next = start;
  for await (const { images, keys } of source.batches({ signal })) {
    // batches come in the order of the dataset, with some left out
    const indices = keys.map((key) => {
      next = dataset.keys.indexOf(key, next) + 1;
      return next - 1;
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
