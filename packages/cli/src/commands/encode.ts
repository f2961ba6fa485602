import { resolve } from "node:path";
import type { OpenedTokenizer } from "@aligntok/aligntok";
import {
  AlignTokError,
  check,
  concatRows,
  createRandom,
  type Images,
  type NdArray,
  reshape,
  rows,
} from "@aligntok/core";
import { Command } from "commander";
import { padImages } from "../image-padding.ts";
import { createLatentFolder } from "../latent-folder.ts";
import { identityOf, type RowStream, writeResumableArray } from "../resumable-array.ts";
import type { TokenizerMark } from "../row-metadata.ts";
import { defineAction, type Session } from "../session.ts";
import {
  addImagesOptions,
  describeSize,
  type ImageStream,
  type ImagesChoice,
  openTokenizerImages,
  type TokenizerBatch,
  type TokenizerImages,
} from "../tokenizer-images.ts";
import {
  addTokenizerOptions,
  openTokenizerOption,
  type TokenizerChoice,
} from "../tokenizer-option.ts";
import { stampWeights } from "../weights-stamp.ts";

interface EncodeOptions extends TokenizerChoice, ImagesChoice {
  readonly flip?: true;
  readonly sample?: true;
  readonly restart?: true;
  readonly out: string;
}

export function encodeCommand(): Command {
  const command = new Command("encode")
    .summary("images to the latents of a tokenizer")
    .description("Encodes images with a tokenizer and writes their latents to a file.");
  addImagesOptions(addTokenizerOptions(command))
    .requiredOption("--out <path>", "F.safetensors; with --size own a folder, one file an image")
    .option("--flip", "also the latents of the images mirrored left to right: latents_flip")
    .option(
      "--sample",
      "draw latents from their distribution, by --seed, where the tokenizer has one (default: its mean)",
    )
    .option("--restart", "begin anew what an interrupted run has left to go on with")
    .addHelpText(
      "after",
      `
The file holds latents [N, d, h, w] float32, not normalised, and labels [N] int64 where the images have classes, as
LightningDiT's shards do; the metadata has the names of images and classes, and the tokenizer's model and stride.
A run that ends early leaves F.part and F.part.json beside the output; the same command goes on from there.
Images of --size own get a file each under their names, padded at the right and below to a multiple of the tokenizer's
stride by repeating the last column and row; image_size in the metadata is their height and width before that.

Examples:
  aligntok encode --tokenizer runs/quickstart/tokenizer --images photos --out latents.safetensors
  aligntok encode --tokenizer T --images 'train-{000..003}.tar' --size 256 --crop adm --flip --sample --out train.safetensors
  aligntok encode --tokenizer T --images photos --size own --max-size 2048 --out latents
  aligntok decode --tokenizer T --latents latents.safetensors --out decoded
  aligntok eval latents --latents latents.safetensors --report latents.html`,
    );
  return defineAction(command, encode);
}

async function encode(options: EncodeOptions, session: Session): Promise<void> {
  checkOut(options);
  const tokenizer = await openTokenizerOption(options, session);
  try {
    const encoding = await prepare(tokenizer, options, session);
    const write = encoding.images.size === "own" ? encodeEach : encodeAll;
    await write(encoding, options, session);
  } finally {
    tokenizer.dispose();
  }
}

function checkOut({ out, size }: EncodeOptions): void {
  const isFile = out.endsWith(".safetensors");
  if (isFile !== (size === "own")) return;
  throw new AlignTokError(
    "unsupported",
    isFile
      ? `--out ${out}: expected a folder, since images of their own sizes get a file each. leave the ending out, or give --size in pixels`
      : `--out ${out}: expected a name that ends in .safetensors. rename the output`,
  );
}

/** What both forms of the output are made from. */
interface Encoding {
  readonly images: TokenizerImages;
  /** Latents of a batch or its mirror images, channels first. */
  encodeBatch(batch: TokenizerBatch, kind: LatentKind): Promise<NdArray<"float32">>;
  readonly tokenizer: TokenizerMark;
  /** All that decides the latents besides the images themselves. */
  readonly recipe: readonly unknown[];
}

/** Names of the arrays. */
type LatentKind = "latents" | "latents_flip";

async function prepare(
  tokenizer: OpenedTokenizer,
  options: EncodeOptions,
  { seed, engine }: Session,
): Promise<Encoding> {
  const { tokenizerModel, tile, sample, flip } = options;
  const { stride, model, moments } = tokenizer;
  check(
    !sample || moments,
    () =>
      `--sample: expected a tokenizer whose latents have a distribution, such as VA-VAE's, got ${model}. leave --sample out`,
  );
  const [{ drawLatents }, { permuteLatents }, { mirrorImage }] = await Promise.all([
    import("@aligntok/aligntok"),
    import("@aligntok/diffusion"),
    import("@aligntok/image"),
  ]);
  const images = await openTokenizerImages(options, tokenizer.imageSize);
  const weights = await stampWeights(options.tokenizer);

  function mirror(batch: Images): Images {
    const [n = 0, height = 0, width = 0] = batch.shape;
    return reshape(mirrorImage(reshape(batch, [n * height, width, 3])), batch.shape);
  }

  return {
    images,
    tokenizer: { model, stride },
    recipe: [
      ...[weights, tokenizerModel, tile, flip, sample && ["sample", seed], engine],
      ...images.recipe,
    ],
    async encodeBatch({ images: batch, indices }, kind) {
      const turned = kind === "latents" ? batch : mirror(batch);
      const fitted = images.size === "own" ? padImages(turned, stride) : turned;
      if (!sample || !moments) return permuteLatents(await tokenizer.encode(fitted), "nchw");
      const distributions = await moments(fitted);
      // each image has a stream of its own, so that neither batches nor interruptions change what is drawn
      const drawn = indices.map((index, i) =>
        drawLatents(rows(distributions, i, i + 1), createRandom(seed, kind, index)),
      );
      return permuteLatents(concatRows(drawn), "nchw");
    },
  };
}

/** Images of one size into one file. */
async function encodeAll(
  { images, encodeBatch, tokenizer, recipe }: Encoding,
  { out, flip, restart, crop, images: paths }: EncodeOptions,
  session: Session,
): Promise<void> {
  const { expandPaths } = await import("@aligntok/data-laion");
  const { dataset, size } = images;
  const { keys, labels, length } = dataset;
  const sources = (await expandPaths(paths)).map((path) => resolve(path));

  function readFrom(start: number): ImageStream {
    return images.read([...keys.keys()].slice(0, start), session);
  }

  function streamFrom(start: number): RowStream {
    const first = readFrom(start);
    return { batches: rowsOf(first.batches, Math.max(0, start - length)), skipped: first.skipped };
  }

  async function* rowsOf(
    first: AsyncIterable<TokenizerBatch>,
    start: number,
  ): RowStream["batches"] {
    for await (const batch of first) {
      yield { indices: batch.indices, rows: await encodeBatch(batch, "latents") };
    }
    if (!flip) return;
    for await (const batch of readFrom(start).batches) {
      const indices = batch.indices.map((index) => length + index);
      yield { indices, rows: await encodeBatch(batch, "latents_flip") };
    }
  }

  const { shape, skipped } = await writeResumableArray(out, streamFrom, {
    ...{ dataset, session, task: "encoding", name: "latents", tokenizer },
    identity: identityOf([keys, sources, recipe]),
    ...(flip && { twin: "latents_flip" }),
    ...(labels && { labels: BigInt64Array.from(labels, BigInt) }),
    ...(restart && { restart }),
  });
  const left = length - shape[0]!;
  session.answer(
    [
      `${out}: ${flip ? "latents and latents_flip" : "latents"} float32 [${shape.join(", ")}] of images of ${describeSize(size)}`,
      ...(left ? [`${left} images left out: ${JSON.stringify(skipped)}`] : []),
    ],
    {
      ...{ out, shape, dtype: "float32", labels: labels !== undefined, flip: flip ?? false },
      ...{ size, crop, skipped },
    },
  );
}

/** Images of their own sizes into a file each. */
async function encodeEach(
  { images, encodeBatch, tokenizer, recipe }: Encoding,
  { out, flip, sample, restart }: EncodeOptions,
  session: Session,
): Promise<void> {
  const { signal, onProgress, answer } = session;
  const { dataset, size } = images;
  const { length } = dataset;
  const folder = createLatentFolder(out, {
    ...{ dataset, tokenizer },
    recipe: (index) => [recipe, sample && index], // what is drawn depends on the place of an image
  });
  const kept: number[] = [];
  for (let index = 0; index < length && !restart; index++) {
    signal.throwIfAborted();
    if (await folder.has(index)) kept.push(index);
  }
  const { batches, skipped } = images.read(kept, session);
  let done = kept.length;
  for await (const batch of batches) {
    const [index = 0] = batch.indices;
    const arrays = {
      latents: await encodeBatch(batch, "latents"),
      ...(flip && { latents_flip: await encodeBatch(batch, "latents_flip") }),
    };
    const [, height = 0, width = 0] = batch.images.shape;
    await folder.write(index, arrays, [height, width]);
    done++;
    onProgress({ task: "encoding", done, total: length });
  }
  const left = length - done;
  answer(
    [
      `${out}: latents of ${done} images of ${describeSize(size)}${kept.length ? `, ${kept.length} of them by an earlier run` : ""}`,
      ...(left ? [`${left} images left out: ${JSON.stringify(skipped())}`] : []),
    ],
    { out, images: done, kept: kept.length, flip: flip ?? false, size, skipped: skipped() },
  );
}
