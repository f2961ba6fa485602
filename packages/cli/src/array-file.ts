/**
 * Float32 arrays on disk that are written batch by batch and never held in memory as a whole: `.npy` for NumPy,
 * `.safetensors` with labels and names beside the array.
 */
import { extname } from "node:path";
import { AlignTokError, check, sizeOf } from "@aligntok/core";
import { createGrowingFile } from "./growing-file.ts";

export interface ArrayFileContent {
  /** Shape of the whole array; the rows of its first dimension arrive in batches. */
  readonly shape: readonly number[];
  /** Names of the rows; kept in the metadata of safetensors. */
  readonly keys: readonly string[];
  /** Class of each row; kept as the tensor `labels` of safetensors. */
  readonly labels?: Int32Array;
}

export interface ArrayFile {
  /** Appends rows. */
  append(values: Float32Array): Promise<void>;
  /** Completes the file, which takes its name only now. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

/** Name of the array inside a safetensors file. */
const tensorName = "features";

/** @throws AlignTokError `unsupported` for other endings than `.npy` and `.safetensors` */
export function checkArrayPath(path: string): void {
  const ending = extname(path);
  if (ending !== ".npy" && ending !== ".safetensors") {
    throw new AlignTokError(
      "unsupported",
      `${path}: expected a name that ends in .npy or .safetensors, got ${ending || "none"}. rename the output`,
    );
  }
}

/** Opens `path` for an array of a known shape. */
export async function createArrayFile(path: string, content: ArrayFileContent): Promise<ArrayFile> {
  checkArrayPath(path);
  const npy = path.endsWith(".npy");
  const file = await createGrowingFile(path);
  let left = sizeOf(content.shape);
  await file.append(npy ? npyHeader(content.shape, "<f4") : safetensorsHeader(content));
  return {
    async append(values) {
      left -= values.length;
      check(left >= 0, () => `${path}: expected no more than ${content.shape[0]} rows`);
      await file.append(bytesOf(values));
    },
    async finish() {
      check(left === 0, () => `${path}: expected ${left} more values`);
      if (!npy && content.labels) await file.append(bytesOf(content.labels));
      await file.finish();
    },
    discard: file.discard,
  };
}

/** NumPy's format 1.0: magic, version, length, a Python dict padded to a multiple of 64 bytes. */
export function npyHeader(shape: readonly number[], descr: "<f4" | "<i4" | "|u1"): Uint8Array {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10;
  const prefix = [0x93, ...Buffer.from("NUMPY"), 1, 0, length & 255, length >> 8];
  return Buffer.concat([Buffer.from(prefix), Buffer.from(`${dict.padEnd(length - 1)}\n`)]);
}

function safetensorsHeader({ shape, keys, labels }: ArrayFileContent): Uint8Array {
  const size = sizeOf(shape) * 4;
  const header = {
    __metadata__: { keys: JSON.stringify(keys) },
    [tensorName]: { dtype: "F32", shape, data_offsets: [0, size] },
    ...(labels && {
      labels: {
        dtype: "I32",
        shape: [labels.length],
        data_offsets: [size, size + labels.byteLength],
      },
    }),
  };
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.from(" ".repeat((8 - (json.length % 8)) % 8))]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

/** The bytes of a typed array, without copying. */
export function bytesOf(array: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
