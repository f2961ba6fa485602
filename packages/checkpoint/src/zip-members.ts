/** Where the members of a zip file lie. */
import { closeSync, openSync, readSync } from "node:fs";
import { AlignTokError } from "@aligntok/core";
import yauzl from "yauzl";

/** Bytes of a stored member in the file. */
export interface ZipMember {
  readonly offset: number;
  readonly size: number;
}

/**
 * The stored (not compressed) members of a zip file by name, checked against the file's size; zip64 included.
 *
 * @throws AlignTokError `bad-format` for a damaged file, `unsupported` for compressed or encrypted members
 */
export async function listStoredMembers(
  path: string,
  fileSize: number,
): Promise<ReadonlyMap<string, ZipMember>> {
  const entries = await readDirectory(path);
  const members = new Map<string, ZipMember>();
  const file = openSync(path, "r");
  try {
    for (const entry of entries) {
      if (entry.fileName.endsWith("/")) continue;
      if (entry.compressionMethod !== 0 || entry.generalPurposeBitFlag & 1) {
        throw new AlignTokError(
          "unsupported",
          `zip ${path}: ${entry.fileName}: expected a stored member, got a compressed or encrypted one. save the file again with torch.save`,
        );
      }
      // the lengths of name and padding in the local header differ from those of the directory
      const header = Buffer.alloc(30);
      const start = entry.relativeOffsetOfLocalHeader;
      readSync(file, header, 0, 30, start);
      const offset = start + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
      const size = entry.uncompressedSize;
      if (header.readUInt32LE(0) !== 0x04034b50 || offset + size > fileSize) {
        throw new AlignTokError(
          "bad-format",
          `zip ${path}: ${entry.fileName}: expected ${size} bytes in the file, got fewer or another header. the file is damaged or incomplete`,
        );
      }
      members.set(entry.fileName, { offset, size });
    }
  } finally {
    closeSync(file);
  }
  return members;
}

function readDirectory(path: string): Promise<readonly yauzl.Entry[]> {
  return new Promise((resolve, reject) => {
    const damaged = (cause: Error) =>
      reject(
        new AlignTokError(
          "bad-format",
          `zip ${path}: expected a whole zip file, got an error (${cause.message}). the file is damaged or incomplete`,
          { cause },
        ),
      );
    yauzl.open(path, { lazyEntries: false }, (error, zip) => {
      if (error || !zip) return damaged(error ?? new Error("no directory"));
      const entries: yauzl.Entry[] = [];
      zip.on("entry", (entry: yauzl.Entry) => entries.push(entry));
      zip.on("error", damaged);
      zip.on("end", () => resolve(entries));
    });
  });
}
