/** A file that is written piece by piece and takes its name only once it is complete. */
import { open, rename, rm } from "node:fs/promises";

export interface GrowingFile {
  append(bytes: Uint8Array): Promise<void>;
  /** Overwrites bytes that were appended before. */
  patch(bytes: Uint8Array, offset: number): Promise<void>;
  /** Brings everything to the disk and gives the file its name. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

export async function createGrowingFile(path: string): Promise<GrowingFile> {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, "w");
  let done = false;
  return {
    async append(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        offset += (await file.write(bytes, offset)).bytesWritten;
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
  };
}
