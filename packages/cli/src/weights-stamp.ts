import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { locateWeights } from "@aligntok/checkpoint";

/** What a model is read from in its folder; other files may come and go. */
const modelFile = /^(preprocessor_)?config\.json$|\.index\.json$|\.(safetensors|bin|pt|pth|ckpt)$/;

/**
 * What changes when weights are replaced: where they lie, and the names, sizes and times of their files. Of a lone file
 * with the files that belong to it: shards, the other half of a TAESD, OpenVINO's data.
 *
 * @param pathOrName as `locateWeights` takes it
 * @throws AlignTokError `not-found`
 */
export async function stampWeights(pathOrName: string): Promise<readonly unknown[]> {
  const { path, isFolder } = await locateWeights(pathOrName);
  const folder = isFolder ? path : dirname(path);
  const stem = stemOf(basename(path));
  const names = await readdir(folder);
  const own = names.filter((name) => (isFolder ? modelFile.test(name) : stemOf(name) === stem));
  const files = own.sort().map(async (name) => {
    const found = await stat(join(folder, name)).catch(() => undefined); // a link may lead nowhere
    return [name, found?.size, found?.mtimeMs];
  });
  return [resolve(path), ...(await Promise.all(files))];
}

function stemOf(name: string): string {
  return name.replace(/(-\d+-of-\d+)?\.\w+(\.index\.json)?$/, "").replace(/encoder|decoder/, "");
}
