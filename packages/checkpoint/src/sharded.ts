/** Models in several files with an index, as Hugging Face lays them out. */

import { readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AlignTokError, byteLength, check, listSome, type NdArray } from "@aligntok/core";
import { writeFileAtomic } from "./atomic-file.ts";
import { fileError } from "./file-error.ts";
import { type WriteSafetensorsOptions, writeSafetensors } from "./safetensors.ts";
import { disagrees, parseShardIndex, type ShardIndex } from "./shard-index.ts";

/** Longer than the index of any model that exists by far, so that no other file is read as one. */
const longestIndex = 100_000_000;

interface Shard {
  readonly tensors: Readonly<Record<string, NdArray>>;
}

/**
 * The tensors of all files that an index names, each opened by `open`.
 *
 * @throws AlignTokError `bad-format` for an index that is damaged or does not agree with its files; `not-found` for
 * files that are absent.
 */
export async function openShards<T extends Shard>(
  indexPath: string,
  open: (path: string) => Promise<T>,
): Promise<{
  first: T | undefined;
  tensors: Record<string, NdArray>;
  metadata: ShardIndex["metadata"];
}> {
  const { weightMap, metadata } = await readIndex(indexPath);
  const files = [...new Set(weightMap.values())].sort();
  const folder = dirname(indexPath);
  await checkPresent(indexPath, files);
  const tensors: [string, NdArray][] = [];
  let first: T | undefined;
  for (const file of files) {
    const shard = await open(join(folder, file));
    first ??= shard;
    const named = [...weightMap].filter(([, name]) => name === file).map(([name]) => name);
    const absent = named.filter((name) => !Object.hasOwn(shard.tensors, name));
    if (absent.length > 0) {
      throw disagrees(
        indexPath,
        `expected ${listSome(absent)} in ${file}, got a file without them`,
      );
    }
    for (const name of Object.keys(shard.tensors)) {
      const place = weightMap.get(name);
      if (place !== file) {
        const said = place ? `lies in ${place}` : "is in no file";
        throw disagrees(indexPath, `${file} holds ${name}, which ${said} by the index`);
      }
    }
    for (const name of named) tensors.push([name, shard.tensors[name]!]);
  }
  return { first, tensors: Object.fromEntries(tensors), metadata };
}

async function readIndex(path: string): Promise<ShardIndex> {
  let text: string;
  try {
    const { size } = await stat(path);
    check(
      size <= longestIndex,
      `index ${path}: expected at most ${longestIndex} bytes, got ${size}`,
    );
    text = await readFile(path, "utf8");
  } catch (error) {
    throw fileError("read", path, error);
  }
  return parseShardIndex(text, path);
}

async function checkPresent(indexPath: string, files: readonly string[]): Promise<void> {
  const present = new Set(await readdir(dirname(indexPath)));
  const absent = files.filter((file) => !present.has(file));
  if (absent.length > 0) {
    throw new AlignTokError(
      "not-found",
      `index ${indexPath}: expected ${files.length} files beside it, got none named ${listSome(absent)}. download them, too`,
    );
  }
}

export interface ShardOptions extends WriteSafetensorsOptions {
  /** Bytes of tensors a file; a larger tensor has a file of its own. @default 5e9 */
  readonly maxShardBytes?: number;
}

/** Files of a model written before, under Hugging Face's names. */
const shardName = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

/**
 * Writes a model into a folder as huggingface_hub does: `model.safetensors`, or `model-00001-of-00003.safetensors`
 * and so on with `model.safetensors.index.json`, filled in the order of the tensors. Files of that naming which
 * do not belong to the model are removed at the end. `metadata` goes into a single file, or into the index.
 *
 * @returns names of the files written.
 * @throws AlignTokError as `writeSafetensors` does.
 */
export async function writeShardedSafetensors(
  folder: string,
  tensors: Readonly<Record<string, NdArray>>,
  { metadata = {}, maxShardBytes = 5e9, ...options }: ShardOptions = {},
): Promise<string[]> {
  check(maxShardBytes > 0, () => `maxShardBytes: expected more than 0, got ${maxShardBytes}`);
  const shards = splitShards(tensors, maxShardBytes);
  const format = { format: "pt" };
  const written: string[] = [];
  if (shards.length === 1) {
    written.push("model.safetensors");
    await writeSafetensors(join(folder, "model.safetensors"), tensors, {
      ...options,
      metadata: { ...format, ...metadata },
    });
  } else {
    const weightMap: Record<string, string> = {};
    const total = Object.values(tensors).reduce((sum, array) => sum + byteLength(array), 0);
    let totalSize = 0;
    for (const [i, shard] of shards.entries()) {
      const number = (n: number) => String(n).padStart(5, "0");
      const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
      const before = totalSize;
      await writeSafetensors(join(folder, file), shard, {
        ...options,
        metadata: format,
        onProgress: (progress) =>
          options.onProgress?.({ ...progress, done: before + progress.done, total }),
      });
      written.push(file);
      for (const [name, array] of Object.entries(shard)) {
        Object.defineProperty(weightMap, name, { value: file, enumerable: true });
        totalSize += byteLength(array);
      }
    }
    const index = { metadata: { total_size: totalSize, ...metadata }, weight_map: weightMap };
    written.push("model.safetensors.index.json");
    await writeFileAtomic(join(folder, written.at(-1)!), JSON.stringify(index, null, 2));
  }
  for (const file of await readdir(folder)) {
    if (shardName.test(file) && !written.includes(file)) await rm(join(folder, file));
  }
  return written;
}

/** A tensor above the limit has a shard of its own, placed where it is met, as in huggingface_hub. */
function splitShards(
  tensors: Readonly<Record<string, NdArray>>,
  most: number,
): Record<string, NdArray>[] {
  const shards: [string, NdArray][][] = [];
  let current: [string, NdArray][] = [];
  let size = 0;
  for (const entry of Object.entries(tensors)) {
    const length = byteLength(entry[1]);
    if (length > most) {
      shards.push([entry]);
      continue;
    }
    if (size + length > most) {
      shards.push(current);
      [current, size] = [[], 0];
    }
    current.push(entry);
    size += length;
  }
  if (current.length > 0 || shards.length === 0) shards.push(current);
  return shards.map((entries) => Object.fromEntries(entries));
}
