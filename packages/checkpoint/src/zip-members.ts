/** Where the members of a zip file lie. */
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
 * @param read bytes of the file, which is open already
 * @throws AlignTokError `bad-format` for a damaged file, `unsupported` for compressed or encrypted members
 */
export async function listStoredMembers(
  path: string,
  fileSize: number,
  read: (offset: number, length: number) => Uint8Array,
): Promise<ReadonlyMap<string, ZipMember>> {
  const members = new Map<string, ZipMember>();
  for (const entry of await readDirectory(path)) {
    if (entry.fileName.endsWith("/")) continue;
    if (entry.compressionMethod !== 0 || entry.isEncrypted()) {
      throw new AlignTokError(
        "unsupported",
        `zip ${path}: ${entry.fileName}: expected a stored member, got a compressed or encrypted one. save the file again with torch.save`,
      );
    }
    // the lengths of name and padding in the local header differ from those of the directory
    const start = entry.relativeOffsetOfLocalHeader;
    const header = Buffer.from(read(start, 30));
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
  return members;
}

async function readDirectory(path: string): Promise<readonly yauzl.Entry[]> {
  try {
    const entries: yauzl.Entry[] = [];
    for await (const entry of (await yauzl.openPromise(path)).eachEntry()) entries.push(entry);
    return entries;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AlignTokError(
      "bad-format",
      `zip ${path}: expected a whole zip file, got an error (${reason}). the file is damaged or incomplete`,
      { cause },
    );
  }
}
