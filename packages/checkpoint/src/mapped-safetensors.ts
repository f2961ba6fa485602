import { realpath } from "node:fs/promises";
import type { NdArray } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { mappedArray } from "./lazy-array.ts";
import { type Safetensors, withHeader } from "./safetensors.ts";

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
    const tensors = entries.map(({ name, dtype, shape, start }): [string, NdArray] => {
      const source = { path: resolved, offset: dataStart + start, modified };
      return [name, mappedArray(dtype, shape, source)];
    });
    return { tensors: Object.fromEntries(tensors), metadata };
  });
}
