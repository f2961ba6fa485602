/** Images in zip archives: the directory is read once, and an image is then one or two positional reads. */
import { listZipMembers, readZipMember, type ZipMember } from "@aligntok/checkpoint";
import { AlignTokError, listSome } from "@aligntok/core";
import { type ImageDataset, itemAt, iterable } from "./dataset.ts";
import { isImageName } from "./folder.ts";

interface ZipImage {
  readonly member: ZipMember;
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
      `${listSome(paths)}: expected images either in class folders or beside none, got ${loose.length} beside them (${listSome(loose.map(({ member }) => member.name))}). pack them in a class`,
    );
  }
  const classes = [...new Set(images.flatMap(({ folders }) => folders.slice(0, 1)))].sort();
  const labelOf = new Map(classes.map((name, label) => [name, label]));
  const labels = images.map(({ folders }) => labelOf.get(folders[0] ?? "") ?? 0);
  const hasClasses = classes.length > 0;
  return iterable({
    length: images.length,
    keys: images.map(({ member }) => member.name),
    ...(hasClasses && { labels: Int32Array.from(labels), classes }),
    hasCaptions: false,
    async read(index) {
      const { member } = itemAt(images, index);
      const name = `${member.archive}: ${member.name}`;
      const bytes = await readZipMember(member);
      return { key: member.name, name, bytes, ...(hasClasses && { label: labels[index]! }) };
    },
  });
}

async function listImages(path: string): Promise<ZipImage[]> {
  const members = (await listZipMembers(path)).filter(({ name }) => isWanted(name));
  const folders = members.map(({ name }) => name.split("/").slice(0, -1));
  const shared = sharedDepth(folders);
  return members
    .map((member, i) => ({ member, folders: folders[i]!.slice(shared) }))
    .sort((a, b) => compareNames(a.member.name, b.member.name));
}

function isWanted(name: string): boolean {
  const parts = name.split("/");
  return isImageName(name) && parts.every((part) => part[0] !== "." && part !== "__MACOSX");
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
