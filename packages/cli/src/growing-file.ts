/** A file that is written piece by piece and takes its name only once it is complete. */
import { open, rename, rm } from "node:fs/promises";
import { AlignTokError } from "@aligntok/core";

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
 * @param part to write into `PATH.part`, which keeps its first `length` bytes, for a later run to go on with.
 * @default a temporary name of this process
 */
export async function createGrowingFile(
  path: string,
  part?: { readonly length: number },
): Promise<GrowingFile> {
  const temporary = part ? `${path}.part` : `${path}.${process.pid}.tmp`;
  const file = await open(temporary, part?.length ? "r+" : "w");
  let position = part?.length ?? 0;
  if ((await file.stat()).size < position) {
    await file.close();
    throw new AlignTokError(
      "bad-input",
      `${temporary}: expected at least the ${position} bytes of the interrupted run, got fewer. add --restart to discard it`,
    );
  }
  await file.truncate(position);
  let done = false;
  return {
    async append(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        const left = bytes.length - offset;
        const { bytesWritten } = await file.write(bytes, offset, left, position);
        offset += bytesWritten;
        position += bytesWritten;
      }
    },
    async patch(bytes, offset) {
      await file.write(bytes, 0, bytes.length, offset);
    },
    async finish() {
      await file.sync();
      await file.close();
      await rename(temporary, path);
      done = true;
    },
    async discard() {
      if (done) return;
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
    },
    async leave() {
      if (!done) await file.close();
      return !done;
    },
  };
}
