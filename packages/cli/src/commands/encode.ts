import { resolve } from "node:path";
import { AlignTokError, heightAndWidth } from "@aligntok/core";
import type { CountingImageSource, ImageDataset } from "@aligntok/data-laion";
import { Command, Option } from "commander";
import { identityOf, type RowStream, writeResumableArray } from "../resumable-array.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import { openTokenizerOption, tileOption, tokenizerOption } from "../tokenizer-option.ts";

interface EncodeOptions {
  readonly tokenizer: string;
  readonly tile?: number;
  readonly images: readonly string[];
  readonly size?: number;
  readonly crop: "center" | "adm";
  readonly onError: "raise" | "skip";
  readonly restart?: true;
  readonly batch: number;
  readonly out: string;
}

export function encodeCommand(): Command {
  const command = new Command("encode")
    .summary("images to the latents of a tokenizer")
    .description("Encodes images with a tokenizer and writes their latents to a file.")
    .addOption(tokenizerOption())
    .requiredOption(
      "--images <paths...>",
      "folder (sub-folders are classes), glob, tar shards, zip, Parquet, files",
    )
    .requiredOption("--out <file>", "F.safetensors")
    .addOption(
      new Option(
        "--size <pixels>",
        "side of the square images (default: the size it was trained on, or 256)",
      ).argParser(wholeNumber(1)),
    )
    .addOption(
      new Option(
        "--crop <how>",
        "center: short side resized, bicubic as Pillow does it; adm: halved by box filter first, as for ImageNet's latents",
      )
        .choices(["center", "adm"])
        .default("center"),
    )
    .addOption(
      new Option(
        "--on-error <what>",
        "of images that cannot be read: raise, or skip and count them",
      )
        .choices(["raise", "skip"])
        .default("raise"),
    )
    .option("--restart", "begin anew what an interrupted run has left to go on with")
    .addOption(tileOption())
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8))
    .addHelpText(
      "after",
      `
The file holds latents [N, d, h, w] float32, not normalised, and labels [N] int64 where the images have classes, as
LightningDiT's shards do; the names of the images are in its metadata. Latents are those of the tokenizer's mean.
A run that ends early leaves F.part and F.part.json beside the output; the same command goes on from there.

Examples:
  aligntok encode --tokenizer runs/quickstart/tokenizer --images photos --out latents.safetensors
  aligntok encode --tokenizer T --images 'train-{000..003}.tar' --size 256 --crop adm --out train.safetensors
  aligntok decode --tokenizer T --latents latents.safetensors --out decoded
  aligntok eval latents --latents latents.safetensors --report latents.html`,
    );
  return defineAction(command, encode);
}

async function encode(options: EncodeOptions, session: Session): Promise<void> {
  const { signal, answer } = session;
  if (!options.out.endsWith(".safetensors")) {
    throw new AlignTokError(
      "unsupported",
      `--out ${options.out}: expected a name that ends in .safetensors. rename the output`,
    );
  }
  const [{ createImageSource, openImages }, { permuteLatents }] = await Promise.all([
    import("@aligntok/data-laion"),
    import("@aligntok/diffusion"),
  ]);
  const dataset = await openImages(options.images);
  const tokenizer = await openTokenizerOption(options, session);
  const { crop, onError, batch: batchSize } = options;
  const size = options.size ?? tokenizer.imageSize;

  const rowsFrom = (position: number): RowStream => {
    if (position === dataset.length) return nothingLeft;
    const source = createImageSource(dataset, {
      ...{ batchSize, size, crop, onError, shuffle: false },
      state: { epoch: 0, position, seed: 0 },
    });
    return { batches: latentsOf(source, position), skipped: source.skipped };
  };
  async function* latentsOf(source: CountingImageSource, start: number): RowStream["batches"] {
    let next = start;
    for await (const { images, keys } of source.batches({ signal })) {
      const indices = placesOf(keys, dataset, next);
      next = indices.at(-1)! + 1;
      yield { indices, rows: permuteLatents(await tokenizer.encode(images), "nchw") };
    }
  }

  const { labels } = dataset;
  const { shape, skipped } = await writeResumableArray(options.out, rowsFrom, {
    ...{ dataset, session, task: "encoding", name: "latents" },
    identity: identityOf([
      dataset.keys,
      ...[resolve(options.tokenizer), options.tile, size, crop, session.engine],
    ]),
    ...(labels && { labels: BigInt64Array.from(labels, BigInt) }),
    ...(options.restart && { restart: true }),
  }).finally(() => tokenizer.dispose());
  const left = dataset.length - shape[0]!;
  answer(
    [
      `${options.out}: latents float32 [${shape.join(", ")}] of images of ${heightAndWidth(size).join("x")} px`,
      ...(left ? [`${left} images left out: ${JSON.stringify(skipped)}`] : []),
    ],
    {
      out: options.out,
      shape,
      dtype: "float32",
      labels: labels !== undefined,
      size,
      crop,
      skipped,
    },
  );
}

/** What a run that was interrupted between its last image and the end of the file goes on with. */
const nothingLeft: RowStream = { batches: (async function* () {})(), skipped: () => ({}) };

/** Where the images of a batch stand, which come in the order of the dataset with some left out. */
function placesOf(keys: readonly string[], dataset: ImageDataset, start: number): number[] {
  let next = start;
  return keys.map((key) => {
    next = dataset.keys.indexOf(key, next) + 1;
    return next - 1;
  });
}
