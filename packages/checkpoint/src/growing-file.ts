/**
 * A file that is written piece by piece and takes its name only once it is complete.
 *
 * The bytes go to a temporary file in the same folder, are flushed to the disk, and take the final name by a rename,
 * which POSIX and NTFS do in one step. A process killed at any moment leaves the former file as it was, and at worst a
 * `.tmp` file beside it.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { AlignTokError } from "@aligntok/core";
import { fileError } from "./file-error.ts";

/** One write call moves at most 2 GiB - 4 KiB on Linux. */
const largestWrite = 2 ** 30;

export interface GrowingFile {
  append(bytes: Uint8Array): Promise<void>;
  /** Overwrites bytes that were appended before. */
  patch(bytes: Uint8Array, offset: number): Promise<void>;
  /** Brings everything to the disk and gives the file its name. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
  /** Closes the file and leaves what was written under its temporary name; false where it is finished. */
  leave(): Promise<boolean>;
}

/**
 * Begins a file, of any size; its folder must exist, and a file of that name is replaced at the end.
 *
 * @param part to write into `PATH.part`, which keeps its first `length` bytes, for a later run to go on with.
 * @default a temporary name of this process
 * @throws AlignTokError `not-found` for an absent folder; `bad-input` where the part is shorter than `length`; `io`,
 * as its functions do, when the disk is full or the folder is not writable
 */
export async function createGrowingFile(
  path: string,
  part?: { readonly length: number },
): Promise<GrowingFile> {
  const fail = (error: unknown): never => {
    throw fileError("write", path, error);
  };
  const temporary = part
    ? `${path}.part`
    : `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  const file = await open(temporary, part ? (part.length ? "r+" : "w") : "wx").catch(fail);
  let position = part?.length ?? 0;
  if (part) await keepStart(file, temporary, position);
  let state: "open" | "closed" | "finished" = "open";

  async function close(): Promise<void> {
    if (state === "open") {
      state = "closed";
      await file.close();
    }
  }

  async function write(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(bytes.length - done, largestWrite);
      done += (await file.write(bytes, done, length, at + done)).bytesWritten;
    }
  }

  return {
    async append(bytes) {
      await write(bytes, position).catch(fail);
      position += bytes.length;
    },
    async patch(bytes, offset) {
      await write(bytes, offset).catch(fail);
    },
    async finish() {
      try {
        await file.sync();
        await close();
        await rename(temporary, path);
      } catch (error) {
        fail(error);
      }
      state = "finished";
      await syncFolder(dirname(path));
    },
    async discard() {
      if (state === "finished") return;
      await close().catch(() => {});
      await rm(temporary, { force: true }).catch(() => {});
    },
    async leave() {
      await close().catch(fail);
      return state !== "finished";
    },
  };
}

async function keepStart(file: FileHandle, name: string, length: number): Promise<void> {
  if ((await file.stat()).size < length) {
    await file.close();
    throw new AlignTokError(
      "bad-input",
      `${name}: expected at least the ${length} bytes of the interrupted run, got fewer. remove it to begin anew`,
    );
  }
  await file.truncate(length);
}

/** Makes the rename itself durable. Windows cannot open folders, and some network disks refuse to flush them. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
