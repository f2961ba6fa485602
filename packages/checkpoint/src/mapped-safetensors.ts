import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { realpath } from "node:fs/promises";
import {
  AlignTokError,
  bytesPerElement,
  type FileRange,
  type NdArray,
  sizeOf,
  viewBytes,
} from "@aligntok/core";
import { fileError } from "./file-error.ts";
import type { TensorEntry } from "./header.ts";
import { largestRead, type Safetensors, withHeader } from "./safetensors.ts";

/**
 * The tensors of a safetensors file without reading them: each is read when its `data` is first looked at, or
 * mapped by an engine that it is bound to (`bind` of `@aligntok/jit`), which costs no memory of its own.
 *
 * The file must stay as it is for as long as its tensors are used. Replacing it by renaming another one, as all
 * writers here do, leaves engines with the old one; writing into it while it is mapped can end the process.
 *
 * @throws AlignTokError as `readSafetensors` does; where `data` is read, `io`, and `bad-input` when the file has
 * changed since.
 */
export async function mapSafetensors(path: string): Promise<Safetensors> {
  const resolved = await realpath(path).catch((error) => {
    throw fileError("read", path, error);
  });
  return withHeader(resolved, ({ entries, metadata, dataStart, modified }) => {
    const tensors = entries.map((entry): [string, NdArray] => {
      const source = { path: resolved, offset: dataStart + entry.start, modified };
      return [entry.name, mappedArray(entry, source)];
    });
    return { tensors: Object.fromEntries(tensors), metadata };
  });
}

function mappedArray({ dtype, shape }: TensorEntry, source: FileRange): NdArray {
  let data: NdArray["data"] | undefined;
  const array = {
    dtype,
    shape,
    get data() {
      data ??= viewBytes(
        readRange(source, sizeOf(shape) * bytesPerElement(dtype)),
        shape,
        dtype,
      ).data;
      return data;
    },
  };
  // Not enumerable, so that arrays of equal elements are equal, and a copy does not claim to lie in the file.
  return Object.defineProperty(array, "source", { value: source });
}

function readRange({ path, offset, modified }: FileRange, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    let done = 0;
    while (fstatSync(file).mtimeMs === modified && done < length) {
      const count = readSync(
        file,
        bytes,
        done,
        Math.min(length - done, largestRead),
        offset + done,
      );
      if (count === 0) break;
      done += count;
    }
    if (done === length) return bytes;
  } catch (error) {
    throw fileError("read", path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  throw new AlignTokError(
    "bad-input",
    `safetensors ${path}: expected the file that was opened, got one written since. load it again`,
  );
}
