/** Latents of images of different sizes: a folder with a file for each, under the names of the images. */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { openCheckpoint, writeSafetensors } from "@aligntok/checkpoint";
import { type NdArray, ndarray } from "@aligntok/core";
import type { ImageDataset } from "@aligntok/data-laion";
import { createNames } from "./png-folder.ts";
import { identityOf } from "./resumable-array.ts";
import { type ClassNames, formatRowMetadata, type TokenizerMark } from "./row-metadata.ts";

export interface LatentFolder {
  /** Whether an earlier run has written the file of image `index`, from equal bytes in an equal way. */
  has(index: number): Promise<boolean>;
  /** Writes `(1, d, h, w)` arrays of image `index`, whose height and width in pixels are `imageSize`. */
  write(
    index: number,
    arrays: Readonly<Record<string, NdArray>>,
    imageSize: readonly [height: number, width: number],
  ): Promise<void>;
}

export interface LatentFolderOptions {
  /** Whose latents they are. */
  readonly dataset: ImageDataset;
  readonly tokenizer: TokenizerMark;
  /** All that decides the latents of image `index` besides the image itself (see `identityOf`). */
  recipe(index: number): unknown;
}

export function createLatentFolder(
  folder: string,
  { dataset, tokenizer, recipe }: LatentFolderOptions,
): LatentFolder {
  const { keys, labels } = dataset;
  const nameFile = createNames(folder, ".safetensors");
  const paths = keys.map(nameFile);

  /** Name of its class by index. */
  function classOf(index: number): ClassNames | undefined {
    const label = labels?.[index] ?? -1;
    const name = dataset.classes?.[label];
    return name === undefined ? undefined : { [label]: name };
  }

  async function identify(index: number): Promise<string> {
    const { bytes } = await dataset.read(index);
    const content = createHash("sha256").update(bytes).digest("hex");
    return identityOf([keys[index], labels?.[index], classOf(index), content, recipe(index)]);
  }

  return {
    async has(index) {
      const found = await openCheckpoint(paths[index]!).catch(() => undefined);
      if (!found) return false;
      // an image that cannot be read is met again where it is to be decoded
      return found.metadata.run === (await identify(index).catch(() => undefined));
    },
    async write(index, arrays, imageSize) {
      const path = paths[index]!;
      await mkdir(dirname(path), { recursive: true });
      const label = labels?.[index];
      const classes = classOf(index);
      const about = { keys: [keys[index]!], imageSize, tokenizer, ...(classes && { classes }) };
      await writeSafetensors(
        path,
        {
          ...arrays,
          ...(label !== undefined && {
            labels: ndarray(BigInt64Array.of(BigInt(label)), [1], "int64"),
          }),
        },
        { metadata: { ...formatRowMetadata(about), run: await identify(index) } },
      );
    },
  };
}
