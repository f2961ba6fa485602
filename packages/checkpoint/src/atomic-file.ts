/**
 * Files that appear whole or not at all.
 *
 * The bytes go to a temporary file in the same folder, are flushed to the disk, and take the final
 * name by a rename, which POSIX and NTFS do in one step. A process killed at any moment leaves the
 * former file as it was, and at worst a `.tmp` file beside it.
 */

import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError } from "./file-error.ts";

/** One write call moves at most 2 GiB - 4 KiB on Linux. */
const largestWrite = 2 ** 30;

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
export async function writeChunksAtomic(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      for (const chunk of chunks) {
        for (let offset = 0; offset < chunk.byteLength; ) {
          const length = Math.min(chunk.byteLength - offset, largestWrite);
          offset += (await file.write(chunk, offset, length)).bytesWritten;
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fileError("write", path, error);
  }
  await syncFolder(dirname(path));
}

/** Makes the rename itself durable. Windows cannot open folders, and some network disks refuse to flush them. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
