import { resolve } from "node:path";
import { type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { ImageDataset } from "@aligntok/data-laion";
import type { FeatureStream, Pooling } from "@aligntok/encoders";
import type { ImageInput, ImageTransform, SkippedImage } from "@aligntok/image";
import type { Precision } from "@aligntok/jit";
import { Command, InvalidArgumentError, Option } from "commander";
import { checkArrayPath } from "../array-file.ts";
import { engineOptions } from "../engine-options.ts";
import { onErrorOption } from "../on-error-option.ts";
import { writePcaSheet } from "../report/pca-sheet.ts";
import { identityOf, type RowStream, writeResumableArray } from "../resumable-array.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import { stampWeights } from "../weights-stamp.ts";

/** Blocks counted from 0, or from the end; of a list, each image has one more axis. */
type Layers = "last" | number | readonly number[];

interface FeaturesOptions {
  readonly encoder: string;
  readonly model?: string;
  readonly images: readonly string[];
  readonly size?: number;
  readonly layer: Layers;
  readonly pool: Pooling;
  readonly norm: boolean;
  readonly onError: "raise" | "skip";
  readonly pca?: string;
  readonly restart?: true;
  readonly batch: number;
  readonly precision: Precision;
  readonly out: string;
}

export function featuresCommand(): Command {
  const command = new Command("features")
    .summary("tokens of a pretrained encoder")
    .description(
      "Computes the tokens of a pretrained encoder for images and writes them to a file.",
    )
    .requiredOption(
      "--encoder <path>",
      "folder with config.json and weights, a .safetensors or .pth file with --model, or a name in the cache",
    )
    .requiredOption(
      "--images <paths...>",
      "folder (sub-folders are classes), glob, tar shards, zip, npz, Parquet, files",
    )
    .requiredOption(
      "--out <file>",
      "F.npy; F.safetensors or F.parquet with labels and names beside the tokens",
    )
    .addOption(
      new Option(
        "--precision <kind>",
        "int8: 1.85 times as fast (ViT-S/14 on a processor with VNNI); tokens differ by some percent",
      )
        .choices(["float32", "int8"])
        .default("float32"),
    )
    .option("--model <name>", "what a lone .safetensors or .pth file holds, such as dinov2_vits14")
    .addOption(
      new Option(
        "--size <pixels>",
        "short side and centre crop, bicubic as Pillow does it (default: the preprocessing of the model itself)",
      ).argParser(wholeNumber(1)),
    )
    .addOption(
      new Option(
        "--layer <n>",
        "last, or blocks from 0: 11, -2; of 0,5,11 rows get an axis of layers",
      )
        .argParser(parseLayers)
        .default("last"),
    )
    .addOption(
      new Option(
        "--pool <kind>",
        "none: all tokens, class token first; mean: mean patch token; cls; patches; registers; embedding: of the image, CLIP and SigLIP",
      )
        .choices(["none", "patches", "registers", "cls", "mean", "embedding"])
        .default("none"),
    )
    .option("--no-norm", "tokens as the block leaves them, without the final normalisation")
    .addOption(onErrorOption())
    .option(
      "--pca <file.png>",
      "also a picture: the first images, their patch tokens' main components as colours",
    )
    .option("--restart", "begin anew what an interrupted run has left to go on with")
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8))
    .addHelpText(
      "after",
      `
Rows are in the order of the collection: paths sorted by name, shards in the order given.
A run that ends early leaves F.part and F.part.json beside the output; the same command goes on from there.
Parquet has the columns key, label (of folders of classes) and features, a list with the shape of a row in the
metadata; its row groups are written when all rows have come.

Examples:
  aligntok features --encoder dinov2-small --images photos --out tokens.npy
  aligntok features --encoder dinov2-small --images 'photos/*.jpg' --size 448 --pool cls --out cls.npy
  aligntok features --encoder vit.safetensors --model vit_tiny_patch16_224 \\
      --images 'train-{000..003}.tar' --pool mean --out train.safetensors
  aligntok features --encoder dinov2-small --images photos.zip --layer 5,11 --pool mean \\
      --on-error skip --pca picture.png --out layers.npy`,
    );
  return defineAction(command, computeFeatures);
}

async function computeFeatures(options: FeaturesOptions, session: Session): Promise<void> {
  const { signal, answer, log } = session;
  const { out, pool, norm, onError, pca } = options;
  checkArrayPath(out);
  const [{ loadEncoder }, { expandPaths, openImages }] = await Promise.all([
    import("@aligntok/encoders"),
    import("@aligntok/data-laion"),
  ]);
  const dataset = await openImages(options.images);
  const sources = (await expandPaths(options.images)).map((path) => resolve(path));
  const weights = await stampWeights(options.encoder);
  const encoder = await loadEncoder(options.encoder, {
    ...engineOptions(session),
    batchSize: options.batch,
    precision: options.precision,
    ...(options.model && { model: options.model }),
  });
  const prepared = options.size && { transform: { resize: options.size, crop: options.size } };
  const layer = layerOf(options.layer);
  const onSkip = ({ error }: SkippedImage) => log.warn(`left out: ${error.message}`);

  function rowsFrom(start: number): RowStream {
    const records = recordsOf(dataset, start);
    const wanted = { layer, pool, norm, onError, ...prepared };
    const stream = encoder.featuresOf(records, { ...wanted, signal, onSkip });
    return {
      batches: rowsOf(stream, start, Array.isArray(options.layer)),
      skipped: stream.skipped,
    };
  }

  try {
    // first, so that nothing is computed in vain where the picture cannot be written
    if (pca) await writePcaSheet(pca, encoder, dataset, { signal, ...prepared });
    const { shape, skipped } = await writeResumableArray(out, rowsFrom, {
      ...{ dataset, session, task: "features" },
      identity: identityOf([
        ...[dataset.keys, sources],
        ...[weights, options.model, options.size, options.layer, pool, norm],
        ...[options.precision, session.engine],
      ]),
      ...(dataset.labels && { labels: dataset.labels }),
      ...(options.restart && { restart: true }),
    });
    const { size = sideOf(encoder.config.transform) } = options;
    const left = dataset.length - shape[0]!;
    const result = { out, shape, dtype: "float32", layer: options.layer, pool, size };
    answer(
      [
        `${out}: float32 [${shape.join(", ")}], ${size} px, pool ${pool}`,
        ...(left ? [`${left} images left out: ${JSON.stringify(skipped)}`] : []),
      ],
      { ...result, skipped, ...(pca && { pca }) },
    );
  } finally {
    encoder.dispose();
  }
}

/** Features of the images from place `start` on: of several layers, with an axis of them. */
async function* rowsOf(
  stream: FeatureStream<NdArray<"float32">[]>,
  start: number,
  isStacked: boolean,
): RowStream["batches"] {
  for await (const { indices, features } of stream) {
    const rows = isStacked ? stackLayers(features) : features[0]!;
    yield { indices: indices.map((i) => start + i), rows };
  }
}

/** Read when they are decoded, so that an image that cannot be read can be left out like a damaged one. */
function* recordsOf(dataset: ImageDataset, start: number): Generator<ImageInput> {
  for (let i = start; i < dataset.length; i++) {
    yield { key: dataset.keys[i]!, read: async () => (await dataset.read(i)).bytes };
  }
}

function layerOf(layer: Layers): readonly number[] {
  if (layer === "last") return [-1];
  return [layer].flat();
}

/** Pixels of the shorter side that a transform leaves. */
function sideOf({ resize, crop = resize }: ImageTransform): number | undefined {
  return typeof crop === "object" ? Math.min(crop.height, crop.width) : crop;
}

/** One `(n, ...)` for each of L layers to `(n, L, ...)`. */
function stackLayers(layers: readonly NdArray<"float32">[]): NdArray<"float32"> {
  const [n = 0, ...rest] = layers[0]!.shape;
  const size = sizeOf(rest);
  const data = new Float32Array(n * layers.length * size);
  for (const [l, { data: values }] of layers.entries()) {
    for (let i = 0; i < n; i++) {
      data.set(values.subarray(i * size, (i + 1) * size), (i * layers.length + l) * size);
    }
  }
  return ndarray(data, [n, layers.length, ...rest]);
}

/** Parser of `last`, `11`, `-2` or `0,5,11`. */
function parseLayers(text: string): Layers {
  if (text === "last") return text;
  const layers = text.split(",").map(Number);
  if (!/^-?\d+(,-?\d+)*$/.test(text)) {
    throw new InvalidArgumentError("expected last, or numbers of blocks such as 11, -2 or 0,5,11.");
  }
  return layers.length === 1 ? layers[0]! : layers;
}
