/** Images in zip archives: the directory is read once, and an image is then one or two positional reads. */
import { crc32, inflateRawSync } from "node:zlib";
import { AlignTokError, listSome } from "@aligntok/core";
import yauzl, { type Entry } from "yauzl";
import { openFile, readError } from "./byte-source.ts";
import { type ImageDataset, itemAt, iterable } from "./dataset.ts";
import { isImageName } from "./folder.ts";

/** Larger members are refused: an image file of this size is a mistake. */
const mostBytes = 2 ** 31 - 1;

interface ZipImage {
  readonly archive: string;
  readonly member: string;
  readonly offset: number;
  readonly packed: number;
  readonly size: number;
  readonly method: number;
  readonly checksum: number;
  readonly encrypted: boolean;
  /** Folders below those that all images of the archive share. */
  readonly folders: readonly string[];
}

/**
 * The images of zip archives (zip64 included), members stored or deflated. Keys are the members' names, sorted as
 * `openImageFolder` sorts the same files. As there, top folders are classes, once the folders that all images of an
 * archive share are left out; hidden files and `__MACOSX` are passed over.
 *
 * @throws AlignTokError `bad-format` for a damaged archive, `bad-input` without images and for images both beside and
 * in folders, `not-found`, `io`. Reading throws `bad-format` for damaged members and `unsupported` for encryption and
 * other methods of compression
 */
export async function openZips(paths: readonly string[]): Promise<ImageDataset> {
  const images: ZipImage[] = [];
  for (const path of paths) images.push(...(await listImages(path)));
  if (images.length === 0) {
    throw new AlignTokError("bad-input", `${listSome(paths)}: expected images, got none`);
  }
  const loose = images.filter(({ folders }) => folders.length === 0);
  if (loose.length > 0 && loose.length < images.length) {
    throw new AlignTokError(
      "bad-input",
      `${listSome(paths)}: expected images either in class folders or beside none, got ${loose.length} beside them (${listSome(loose.map(({ member }) => member))}). pack them in a class`,
    );
  }
  const classes = [...new Set(images.flatMap(({ folders }) => folders.slice(0, 1)))].sort();
  const labelOf = new Map(classes.map((name, label) => [name, label]));
  const labels = images.map(({ folders }) => labelOf.get(folders[0] ?? "") ?? 0);
  const hasClasses = classes.length > 0;
  return iterable({
    length: images.length,
    keys: images.map(({ member }) => member),
    ...(hasClasses && { labels: Int32Array.from(labels), classes }),
    hasCaptions: false,
    async read(index) {
      const image = itemAt(images, index);
      const name = `${image.archive}: ${image.member}`;
      const bytes = await readMember(image, name);
      return { key: image.member, name, bytes, ...(hasClasses && { label: labels[index]! }) };
    },
  });
}

async function listImages(path: string): Promise<ZipImage[]> {
  const file = await openFile(path);
  await file.close(); // says what is wrong with the path
  const images: Omit<ZipImage, "folders">[] = [];
  try {
    const zip = await yauzl.openPromise(path, { lazyEntries: true, strictFileNames: false });
    for await (const entry of zip.eachEntry()) {
      if (isWanted(entry.fileName)) images.push(describe(path, entry));
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code) throw readError(path, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AlignTokError(
      "bad-format",
      `${path}: expected a whole zip archive, got a damaged or cut one (${reason}). fetch it again`,
      { cause },
    );
  }
  const folders = images.map(({ member }) => member.split("/").slice(0, -1));
  const shared = sharedDepth(folders);
  return images
    .map((image, i) => ({ ...image, folders: folders[i]!.slice(shared) }))
    .sort((a, b) => compareNames(a.member, b.member));
}

function isWanted(name: string): boolean {
  const parts = name.split("/");
  return isImageName(name) && parts.every((part) => part[0] !== "." && part !== "__MACOSX");
}

function describe(archive: string, entry: Entry): Omit<ZipImage, "folders"> {
  return {
    archive,
    member: entry.fileName,
    offset: entry.relativeOffsetOfLocalHeader,
    packed: entry.compressedSize,
    size: entry.uncompressedSize,
    method: entry.compressionMethod,
    checksum: entry.crc32,
    encrypted: entry.isEncrypted(),
  };
}

function sharedDepth(folders: readonly (readonly string[])[]): number {
  const [first = []] = folders;
  const depth = first.findIndex((name, i) => folders.some((other) => other[i] !== name));
  return depth < 0 ? first.length : depth;
}

/** Files of a folder ahead of its sub-folders, both by code units. */
function compareNames(a: string, b: string): number {
  const [left, right] = [a.split("/"), b.split("/")];
  const at = left.findIndex((part, i) => part !== right[i]);
  if (at < 0) return left.length - right.length;
  const [leftIsFile, rightIsFile] = [at === left.length - 1, at === right.length - 1];
  if (leftIsFile !== rightIsFile) return leftIsFile ? -1 : 1;
  return left[at]! < right[at]! ? -1 : 1;
}

async function readMember(image: ZipImage, name: string): Promise<Uint8Array> {
  const { archive, offset, packed, size, method, checksum, encrypted } = image;
  if (encrypted || (method !== 0 && method !== 8)) {
    const got = encrypted ? "an encrypted one" : `method ${method}`;
    throw new AlignTokError(
      "unsupported",
      `${name}: expected a stored or deflated member, got ${got}. pack the archive anew`,
    );
  }
  const file = await openFile(archive);
  try {
    const { size: available } = await file.stat();
    const head = (await file.read(Buffer.alloc(30), 0, 30, offset)).buffer;
    const start = offset + 30 + head.readUInt16LE(26) + head.readUInt16LE(28);
    const fits = head.readUInt32LE(0) === 0x04034b50 && start + packed <= available;
    if (!fits || size > mostBytes) throw damaged(name, `${packed} bytes at ${offset}`);
    const { buffer, bytesRead } = await file.read(new Uint8Array(packed), 0, packed, start);
    if (bytesRead !== packed) throw damaged(name, `${bytesRead} of ${packed} bytes`);
    const bytes = method === 0 ? buffer : inflate(buffer, size, name);
    if (bytes.length !== size || crc32(bytes) !== checksum) {
      throw damaged(name, `${bytes.length} bytes of another checksum`);
    }
    return bytes;
  } catch (error) {
    throw readError(archive, error);
  } finally {
    await file.close();
  }
}

function inflate(packed: Uint8Array, size: number, name: string): Uint8Array {
  try {
    return new Uint8Array(inflateRawSync(packed, { maxOutputLength: Math.max(size, 1) }));
  } catch (cause) {
    throw damaged(name, `data that do not inflate (${(cause as Error).message})`);
  }
}

function damaged(name: string, got: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `${name}: expected a whole member, got ${got}. the archive is damaged; fetch it again`,
  );
}
