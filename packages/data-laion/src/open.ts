/** `openImages`: one way in for folders, archives, tables, globs and files. */
import { stat } from "node:fs/promises";
import { AlignTokError, listSome } from "@aligntok/core";
import { readError } from "./byte-source.ts";
import type { ImageDataset } from "./dataset.ts";
import { createFileDataset, isImageName, openImageFolder } from "./folder.ts";
import { openNpz } from "./npz.ts";
import { openParquet } from "./parquet.ts";
import { expandPaths } from "./paths.ts";
import { openShards, type ShardOptions } from "./shards.ts";
import { openZips } from "./zip.ts";

/**
 * Opens images by path: a folder (its sub-folders are classes), tar shards, plain or gzipped
 * (`train-{000..003}.tar`), zip archives, NumPy's `.npz`, Parquet files, a glob, image files, or a list of these of one kind.
 *
 * ```ts
 * import { openImages } from "@aligntok/data-laion";
 *
 * const dataset = await openImages("train-{000..003}.tar");
 * const { key, bytes, label } = await dataset.read(0);
 * console.log(dataset.length, key, bytes.length, label);
 * ```
 *
 * @throws AlignTokError `not-found` when nothing is there; `bad-input` for paths of different kinds or without images;
 * `bad-format` for a damaged shard; `io`
 */
export async function openImages(
  path: string | readonly string[],
  options: ShardOptions = {},
): Promise<ImageDataset> {
  const paths = await expandPaths(path);
  const kinds = await Promise.all(paths.map(kindOf));
  const first = kinds[0];
  const other = kinds.findIndex((kind) => kind !== first);
  if (other > 0) {
    throw new AlignTokError(
      "bad-input",
      `${paths[other]}: expected a ${first} like ${paths[0]}, got a ${kinds[other]}. open one kind at a time`,
    );
  }
  switch (first) {
    case "folder":
      if (paths.length === 1) return openImageFolder(paths[0]!);
      throw new AlignTokError(
        "bad-input",
        `images: expected one folder, got ${paths.length}: ${listSome(paths)}. give the folder that holds them; its sub-folders are classes`,
      );
    case "shard":
      return openShards(paths, options);
    case "zip":
      return openZips(paths);
    case "npz file":
      return openNpz(paths);
    case "Parquet file":
      return openParquet(paths, options);
    case "image":
      return createFileDataset(paths);
    default:
      throw new AlignTokError("bad-input", "images: expected at least one path, got none");
  }
}

async function kindOf(
  path: string,
): Promise<"folder" | "shard" | "zip" | "npz file" | "Parquet file" | "image"> {
  const found = await stat(path).catch((error) => Promise.reject(readError(path, error)));
  if (found.isDirectory()) return "folder";
  if (/\.(tar|tgz|tar\.gz)$/i.test(path)) return "shard";
  if (/\.zip$/i.test(path)) return "zip";
  if (/\.npz$/i.test(path)) return "npz file";
  if (/\.parquet$/i.test(path)) return "Parquet file";
  if (isImageName(path)) return "image";
  throw new AlignTokError(
    "bad-input",
    `${path}: expected a folder, a .tar, .tgz or .tar.gz shard, a .zip, a .npz, a .parquet file, or an image, got another kind of file`,
  );
}
