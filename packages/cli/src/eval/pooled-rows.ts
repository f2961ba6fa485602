/** A vector and, where known, a class for each image of a file: what probes and CKNNA compare. */
import { readFile } from "node:fs/promises";
import { AlignTokError, check, type NdArray } from "@aligntok/core";
import { openRowFile } from "../row-file.ts";
import type { ClassNames } from "../row-metadata.ts";
import type { Session } from "../session.ts";

export interface PooledRows {
  readonly path: string;
  /** `(N, d)` float32: means over positions of latents and tokens. */
  readonly features: NdArray<"float32">;
  readonly keys?: readonly string[];
  readonly labels?: Int32Array;
  /** Names of the labels, where they have names. */
  readonly classes?: ClassNames;
}

/** Rows read at a time: some megabytes of usual latents. */
const batchSize = 64;

/** @param labels a file of classes (see `readLabels`), in place of those in the file */
export async function readPooledRows(
  path: string,
  { signal, onProgress }: Pick<Session, "signal" | "onProgress">,
  labels?: string,
): Promise<PooledRows> {
  const file = await openRowFile(path);
  const [total = 0] = file.shape;
  const { poolBatches } = await import("@aligntok/eval-fid");
  async function* batches() {
    for await (const latents of file.batches(batchSize)) yield { latents };
  }
  const { features } = await poolBatches(batches(), {
    signal,
    onProgress: (progress) => onProgress({ ...progress, total }),
  });
  const known = labels === undefined ? file : await readLabels(labels, total);
  return {
    path,
    features,
    ...(file.keys && { keys: file.keys }),
    ...(known.labels && { labels: known.labels }),
    ...(known.classes && { classes: known.classes }),
  };
}

/**
 * A text file with the class of each image on a line: all whole numbers, which are indices then, or names, which are
 * counted in alphabetical order.
 */
async function readLabels(
  path: string,
  count: number,
): Promise<Pick<PooledRows, "labels" | "classes">> {
  const lines = (await readFile(path, "utf8")).replace(/\r?\n$/, "").split(/\r?\n/);
  check(
    lines.length === count,
    () =>
      `${path}: expected ${count} lines, a class for each image, got ${lines.length}. give the labels of these images, in their order`,
  );
  const words = lines.map((line) => line.trim());
  const empty = words.indexOf("");
  if (empty >= 0) {
    throw new AlignTokError(
      "bad-input",
      `${path}: expected a class on line ${empty + 1}, got none. write its class there, or any name for those that have none`,
    );
  }
  if (words.every((word) => /^\d+$/.test(word))) return { labels: Int32Array.from(words, Number) };
  const classes = [...new Set(words)].sort();
  const indices = new Map(classes.map((name, i) => [name, i]));
  return { labels: Int32Array.from(words, (word) => indices.get(word)!), classes };
}
