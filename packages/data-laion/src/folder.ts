/** Image folders: one folder a class, as torchvision's ImageFolder reads them, or a flat folder without classes. */
import type { Dirent } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { AlignTokError, listSome } from "@aligntok/core";
import { readError } from "./byte-source.ts";
import { type ImageDataset, itemAt, iterable } from "./dataset.ts";

/** Endings taken for images, whatever their case; whether one can be decoded shows when it is read. */
const imageEndings = "jpg jpeg png webp gif bmp tif tiff avif ppm pgm".split(" ");

/** Whether a file name, or a webdataset extension such as `seg.PNG`, ends like an image's. */
export function isImageName(name: string): boolean {
  return imageEndings.includes(name.slice(name.lastIndexOf(".") + 1).toLowerCase());
}

/**
 * The images of a folder, read when asked for. Where sub-folders hold images, each is a class (in sorted order, all
 * its depths included); otherwise the images lie in the folder itself and there are no classes.
 * Keys are paths relative to the folder, with `/`. Names that begin with a dot are skipped.
 *
 * @throws AlignTokError `bad-input` for a folder without images, with an empty class folder, or with images both
 * beside and in sub-folders; `not-found`, `io`
 */
export async function openImageFolder(folder: string): Promise<ImageDataset> {
  const { files, folders } = await list(folder);
  const loose = files.filter(isImageName);
  const classes: { readonly name: string; readonly keys: readonly string[] }[] = [];
  for (const name of folders) {
    const trail = new Set([await realpath(folder)]);
    classes.push({ name, keys: await imagesBelow(folder, name, trail) });
  }
  const empty = classes.filter(({ keys }) => keys.length === 0).map(({ name }) => name);
  if (empty.length === classes.length) return createFolderDataset(folder, [...loose].sort());

  if (loose.length > 0) {
    throw new AlignTokError(
      "bad-input",
      `${folder}: expected images either in class folders or beside none, got ${loose.length} beside them (${listSome(loose)}). move them into a class`,
    );
  }
  if (empty.length > 0) {
    throw new AlignTokError(
      "bad-input",
      `${folder}: expected images in every class folder, got none in ${listSome(empty)}. remove these folders`,
    );
  }
  const labels = classes.flatMap(({ keys }, label) => keys.map(() => label));
  return {
    ...createFolderDataset(
      folder,
      classes.flatMap(({ keys }) => keys),
      labels,
    ),
    classes: classes.map(({ name }) => name),
  };
}

/** Images given by path; keys are the paths. */
export function createFileDataset(paths: readonly string[]): ImageDataset {
  return createFolderDataset("", paths);
}

function createFolderDataset(
  folder: string,
  keys: readonly string[],
  labels?: readonly number[],
): ImageDataset {
  if (keys.length === 0) {
    throw new AlignTokError(
      "bad-input",
      `${folder}: expected images (${imageEndings.join(", ")}), got none. for shards in it give ${folder}/*.tar`,
    );
  }
  return iterable({
    length: keys.length,
    keys,
    ...(labels && { labels: Int32Array.from(labels) }),
    hasCaptions: false,
    async read(index) {
      const key = itemAt(keys, index);
      const path = join(folder, key);
      const label = labels?.[index];
      try {
        const bytes = await readFile(path);
        return { key, name: path, bytes, ...(label !== undefined && { label }) };
      } catch (error) {
        throw readError(path, error);
      }
    },
  });
}

/** Keys of the images at any depth below `folder/key`: the files of a folder ahead of its sub-folders, each sorted. */
async function imagesBelow(
  folder: string,
  key: string,
  trail: ReadonlySet<string>,
): Promise<string[]> {
  const path = join(folder, key);
  const real = await realpath(path);
  if (trail.has(real)) return []; // a link back to a folder that we are in
  const { files, folders } = await list(path);
  const keys = files.filter(isImageName).map((name) => `${key}/${name}`);
  for (const name of folders) {
    keys.push(...(await imagesBelow(folder, `${key}/${name}`, new Set([...trail, real]))));
  }
  return keys;
}

/** Visible files and folders, sorted by code unit; links count as what they point at, dead ones as files. */
async function list(path: string): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = [];
  const folders: string[] = [];
  let entries: Dirent[];
  try {
    entries = await readdir(path, { withFileTypes: true });
  } catch (error) {
    throw readError(path, error);
  }
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const isFolder = entry.isSymbolicLink()
      ? await stat(join(path, entry.name)).then(
          (target) => target.isDirectory(),
          () => false,
        )
      : entry.isDirectory();
    (isFolder ? folders : files).push(entry.name);
  }
  return { files: files.sort(), folders: folders.sort() };
}
