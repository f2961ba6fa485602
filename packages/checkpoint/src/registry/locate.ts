import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { AlignTokError } from "@aligntok/core";
import { resolveWeights } from "./resolve.ts";

/**
 * Where weights lie: at a path, or in the cache under a name (`resolveWeights`: nothing is downloaded).
 *
 * @throws AlignTokError `not-found`.
 */
export async function locateWeights(
  pathOrName: string,
): Promise<{ readonly path: string; readonly isFolder: boolean }> {
  const isFolder = await isFolderAt(pathOrName);
  if (isFolder !== undefined) return { path: pathOrName, isFolder };
  const path = await resolveWeights(pathOrName);
  if (path !== undefined) return { path, isFolder: (await isFolderAt(path)) === true };
  const next = (await looksLikePath(pathOrName))
    ? "check the path"
    : `run aligntok weights pull ${pathOrName} if it is a name`;
  throw new AlignTokError(
    "not-found",
    `weights: expected a folder or a file of weights, or a name that is in the cache, got ${pathOrName}. ${next}`,
  );
}

/** Names are words, or `OWNER/NAME`; those of files inside a repository are told apart by none of this. */
async function looksLikePath(text: string): Promise<boolean> {
  if (/^[./~\\]|^[A-Za-z]:/.test(text) || text.split("/").length > 2) return true;
  return text.includes("/") && (await isFolderAt(dirname(text))) === true;
}

function isFolderAt(path: string): Promise<boolean | undefined> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => undefined,
  );
}
