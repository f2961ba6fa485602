/** Latents of images of different sizes: a folder with a file for each, under the names of the images. */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { openCheckpoint, writeSafetensors } from "@aligntok/checkpoint";
import { type NdArray, ndarray } from "@aligntok/core";
import type { ImageDataset } from "@aligntok/data-laion";
import { createNames } from "./png-folder.ts";

export interface LatentFolder {
  /** Whether an earlier run of equal identity has written the file of image `index`. */
  has(index: number): Promise<boolean>;
  /** Writes `(1, d, h, w)` arrays of image `index`, whose height and width in pixels are `imageSize`. */
  write(
    index: number,
    arrays: Readonly<Record<string, NdArray>>,
    imageSize: readonly [height: number, width: number],
  ): Promise<void>;
}

/** @param identity of everything that decides the values (see `identityOf`) */
export function createLatentFolder(
  folder: string,
  { keys, labels }: ImageDataset,
  identity: string,
): LatentFolder {
  const nameFile = createNames(folder, ".safetensors");
  const paths = keys.map(nameFile);
  return {
    async has(index) {
      const found = await openCheckpoint(paths[index]!).catch(() => undefined);
      return found?.metadata.run === identity;
    },
    async write(index, arrays, imageSize) {
      const path = paths[index]!;
      await mkdir(dirname(path), { recursive: true });
      const label = labels?.[index];
      await writeSafetensors(
        path,
        {
          ...arrays,
          ...(label !== undefined && {
            labels: ndarray(BigInt64Array.of(BigInt(label)), [1], "int64"),
          }),
        },
        {
          metadata: {
            keys: JSON.stringify([keys[index]]),
            image_size: JSON.stringify(imageSize),
            run: identity,
          },
        },
      );
    },
  };
}
