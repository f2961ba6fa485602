/**
 * The cache layout of huggingface_hub, so that Python finds our files and we find Python's:
 * `models--OWNER--NAME/{blobs/ETAG, refs/REVISION, snapshots/COMMIT/FILE}`, snapshots linking to blobs.
 */
import { copyFile, link, mkdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { writeFileAtomic } from "../atomic-file.ts";
import { selectWeights, shardsOf } from "./hub-files.ts";

export function repositoryFolder(hubCache: string, repository: string): string {
  return join(hubCache, `models--${repository.replaceAll("/", "--")}`);
}

export async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
}

/** The folder of a revision (a branch, tag or commit), whether or not it holds all files. */
export async function findSnapshot(folder: string, revision: string): Promise<string> {
  const commit = await readFile(join(folder, "refs", revision), "utf8").catch(() => revision);
  return join(folder, "snapshots", commit.trim());
}

/** Whether a folder holds every file asked for; without a list, a whole set of weights. */
export async function isComplete(folder: string, files?: readonly string[]): Promise<boolean> {
  if (files)
    return (await Promise.all(files.map((name) => isFile(join(folder, name))))).every(Boolean);
  const found = await selectWeights((name) => isFile(join(folder, name)));
  if (!found) return false;
  if (!found.endsWith(".index.json")) return true;
  const text = await readFile(join(folder, found), "utf8");
  return isComplete(folder, shardsOf(text, join(folder, found)));
}

/** Shows a blob under its name in a snapshot: a symbolic link; where there are none, as on Windows, a hard link or a copy. */
export async function linkBlob(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  await symlink(relative(dirname(path), blob), path)
    .catch(() => link(blob, path))
    .catch(() => copyFile(blob, path));
}

export async function writeRevision(
  folder: string,
  revision: string,
  commit: string,
): Promise<void> {
  if (revision === commit) return;
  const path = join(folder, "refs", revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, commit);
}

/** What lies beside a blob while it is fetched; Python's own parts are called otherwise. */
export function partOf(path: string): string {
  return join(dirname(path), `${basename(path)}.aligntok.incomplete`);
}
