/**
 * Grouping of tar members into samples, by the rules of the webdataset project (github.com/webdataset/webdataset,
 * tariterators.py): consecutive files that share their path up to the first dot of the base name.
 */
import { AlignTokError } from "@aligntok/core";
import { readTar, type TarInput, type TarMember } from "./tar.ts";

/** The files of one sample. */
export interface Sample {
  /** Path up to the first dot of the base name: `a/0001` for `a/0001.seg.png`. */
  readonly key: string;
  /** Bytes by lower-case extension, which is all that follows that dot: `jpg`, `seg.png`. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/**
 * The key and lower-case extension of a member's name, or undefined for a name that belongs to no sample:
 * without a dot, or within a top-level file or folder called `__…__`.
 */
export function sampleKey(name: string): readonly [key: string, extension: string] | undefined {
  if (/^__[^/]*__($|\/)/.test(name)) return undefined;
  const base = name.lastIndexOf("/") + 1;
  const dot = name.indexOf(".", base);
  if (dot < 0) return undefined;
  if (dot === base) {
    // A base name that begins with a dot has nothing before it: webdataset's pattern then takes the folder, if that has no dot.
    const folder = base < 2 ? name.slice(0, base) : name.slice(name.lastIndexOf("/", base - 2) + 1);
    if (base === 0 || folder.slice(0, folder.lastIndexOf("/")).includes(".")) return undefined;
  }
  return [name.slice(0, dot), name.slice(dot + 1).toLowerCase()];
}

/**
 * The samples of one shard, whole: a tar archive, plain or gzipped.
 *
 * ```ts
 * import { readSamples } from "@aligntok/data-laion";
 *
 * for await (const { key, files } of readSamples("000000.tar")) console.log(key, Object.keys(files));
 * ```
 *
 * @throws AlignTokError `bad-format` when a sample has an extension twice, and whatever `readTar` throws
 */
export async function* readSamples(
  input: TarInput,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Sample, void> {
  const shard = typeof input === "string" ? input : "tar stream";
  for await (const { key, files } of groupMembers(readTar(input, options), shard)) {
    const data = [...files].map(([extension, member]) => [extension, member.data] as const);
    yield { key, files: Object.fromEntries(data) };
  }
}

/** Groups the files among consecutive members; `shard` is for messages. */
export async function* groupMembers<M extends Pick<TarMember, "name" | "kind">>(
  members: AsyncIterable<M>,
  shard: string,
): AsyncGenerator<{ readonly key: string; readonly files: ReadonlyMap<string, M> }, void> {
  let current: { readonly key: string; readonly files: Map<string, M> } | undefined;
  for await (const member of members) {
    const parts = member.kind === "file" ? sampleKey(member.name) : undefined;
    if (!parts) continue;
    const [key, extension] = parts;
    if (current?.key !== key) {
      if (current) yield current;
      current = { key, files: new Map() };
    }
    if (current.files.has(extension)) {
      throw new AlignTokError(
        "bad-format",
        `${shard}: ${member.name}: expected one .${extension} in sample ${key}, got two. pack the shard anew with distinct names`,
      );
    }
    current.files.set(extension, member);
  }
  if (current) yield current;
}
