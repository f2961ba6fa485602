/**
 * Float32 arrays on disk that are written batch by batch and never held in memory as a whole: `.npy` for NumPy,
 * `.safetensors` with labels and names beside the array, `.parquet` with a row for each name.
 */
import { extname } from "node:path";
import { createGrowingFile, formatNpyHeader } from "@aligntok/checkpoint";
import { AlignTokError, check, sizeOf } from "@aligntok/core";
import { writeParquetRows } from "./parquet-rows.ts";
import { formatRowMetadata, type RowMetadata } from "./row-metadata.ts";

/** With what safetensors keeps in its metadata: see `RowMetadata`. */
export interface ArrayFileContent extends Pick<RowMetadata, "classes" | "tokenizer"> {
  /** Shape of each whole array; the rows of its first dimension arrive in batches. */
  readonly shape: readonly number[];
  /** Names of the rows; kept in the metadata of safetensors, and as the column `key` of Parquet. */
  readonly keys: readonly string[];
  /** Class of each row; kept as the tensor `labels` of safetensors, and as the column `label` of Parquet. */
  readonly labels?: Int32Array | BigInt64Array;
  /** Name of the array in safetensors, and of its column in Parquet. @default "features" */
  readonly name?: string;
  /** Name of a second array of that shape in safetensors, whose rows come after those of the first. @default none */
  readonly twin?: string;
}

export interface ArrayFile {
  /** Appends rows. */
  append(values: Float32Array): Promise<void>;
  /**
   * Completes the file, which takes its name only now.
   *
   * @param kept which of the rows came, where some were left out
   */
  finish(kept?: readonly number[]): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
  /** Leaves what was written in `PATH.part`; false where it is finished. */
  leave(): Promise<boolean>;
}

const endings = [".npy", ".safetensors", ".parquet"] as const;

/** @throws AlignTokError `unsupported` for other endings than `.npy`, `.safetensors` and `.parquet` */
export function checkArrayPath(path: string): (typeof endings)[number] {
  const ending = extname(path);
  const known = endings.find((name) => name === ending);
  if (known) return known;
  throw new AlignTokError(
    "unsupported",
    `${path}: expected a name that ends in ${endings.join(", ")}, got ${ending || "none"}. rename the output`,
  );
}

/**
 * Opens `path` for an array of a known shape. Rows wait in `PATH.part`: of `.npy` and `.safetensors` it is the file to
 * be; of `.parquet`, whose row groups could not be gone on with, it holds the bare numbers until all have come.
 *
 * @param done rows that an interrupted run left in `PATH.part`, to be gone on with
 */
export async function createArrayFile(
  path: string,
  content: ArrayFileContent,
  done = 0,
): Promise<ArrayFile> {
  const ending = checkArrayPath(path);
  const headerOf = (part: ArrayFileContent, length = 0) => {
    if (ending === ".parquet") return new Uint8Array();
    return ending === ".npy"
      ? formatNpyHeader({ dtype: "float32", shape: part.shape })
      : safetensorsHeader(part, length);
  };
  const header = headerOf(content);
  let written = done * sizeOf(content.shape.slice(1));
  const file = await createGrowingFile(path, { length: done && header.length + written * 4 });
  if (!done) await file.append(header);
  let isFinished = false;
  return {
    async append(values) {
      written += values.length;
      check(
        written <= valuesOf(content),
        () =>
          `${path}: expected no more than ${valuesOf(content)} values, got ${written}. remove ${path}.part and run it again`,
      );
      await file.append(bytesOf(values));
    },
    async finish(kept) {
      const part = kept ? selectRows(content, kept) : content;
      const left = valuesOf(part) - written;
      check(
        left === 0,
        () => `${path}: expected ${left} more values. remove ${path}.part and run it again`,
      );
      if (ending === ".parquet") {
        await file.leave();
        await writeParquetRows(path, part, `${path}.part`);
        await file.discard();
      } else {
        if (ending === ".safetensors" && part.labels) await file.append(bytesOf(part.labels));
        // a header of fewer rows takes the room that was reserved
        if (part !== content) await file.patch(headerOf(part, header.length), 0);
        await file.finish();
      }
      isFinished = true;
    },
    discard: file.discard,
    async leave() {
      await file.leave();
      return !isFinished;
    },
  };
}

/** Values of all arrays. */
function valuesOf({ shape, twin }: ArrayFileContent): number {
  return sizeOf(shape) * (twin === undefined ? 1 : 2);
}

function selectRows(content: ArrayFileContent, kept: readonly number[]): ArrayFileContent {
  const { shape, keys, labels } = content;
  return {
    ...content,
    shape: [kept.length, ...shape.slice(1)],
    keys: kept.map((row) => keys[row]!),
    ...(labels && { labels: selectLabels(labels, kept) }),
  };
}

function selectLabels(labels: Int32Array | BigInt64Array, kept: readonly number[]) {
  return labels instanceof Int32Array
    ? Int32Array.from(kept, (row) => labels[row]!)
    : BigInt64Array.from(kept, (row) => labels[row]!);
}

function safetensorsHeader(content: ArrayFileContent, least: number): Uint8Array {
  const { shape, labels, name = "features", twin } = content;
  const size = sizeOf(shape) * 4;
  const start = valuesOf(content) * 4;
  const header = {
    __metadata__: formatRowMetadata(content),
    [name]: { dtype: "F32", shape, data_offsets: [0, size] },
    ...(twin !== undefined && {
      [twin]: { dtype: "F32", shape, data_offsets: [size, 2 * size] },
    }),
    ...(labels && {
      labels: {
        dtype: labels instanceof Int32Array ? "I32" : "I64",
        shape: [labels.length],
        data_offsets: [start, start + labels.byteLength],
      },
    }),
  };
  const json = Buffer.from(JSON.stringify(header));
  const size8 = Math.max(least - 8, Math.ceil(json.length / 8) * 8);
  const padded = Buffer.concat([json, Buffer.alloc(size8 - json.length, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

/** The bytes of a typed array, without copying. */
function bytesOf(array: Float32Array | Int32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
