/** Files that appear whole or not at all. */
import { fileError } from "./file-error.ts";
import { createGrowingFile } from "./growing-file.ts";
import { throwIfAborted } from "./write-progress.ts";

/**
 * Writes a file by a temporary file in the same folder, fsync and rename. The folder must exist; a
 * file of that name is replaced. The bytes must not change until the promise resolves.
 *
 * @throws AlignTokError `not-found` when the folder is absent, `io` when the disk is full or the
 * folder is not writable. The temporary file is removed then.
 */
export function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  return writeChunksAtomic(path, [
    typeof content === "string" ? new TextEncoder().encode(content) : content,
  ]);
}

/** `writeFileAtomic` of the concatenation of chunks, which are never joined in memory. */
export async function writeChunksAtomic(
  path: string,
  chunks: Iterable<Uint8Array>,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const file = await createGrowingFile(path);
  try {
    for (const chunk of chunks) await file.append(chunk);
    throwIfAborted(signal, `writing ${path}`);
    await file.finish();
  } catch (error) {
    await file.discard();
    throw fileError("write", path, error);
  }
}
