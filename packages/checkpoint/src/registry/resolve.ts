/** Where weights come from and where they lie. Nothing here touches the network. */
import { basename, join } from "node:path";
import { AlignTokError, check, listSome } from "@aligntok/core";
import { type RemoteFile, type WeightEntry, weightEntries } from "./entries.ts";
import { findSnapshot, isComplete, isFile, repositoryFolder } from "./hub-cache.ts";
import { pins } from "./pins.ts";
import { readSettings } from "./settings.ts";

export interface HubSource {
  readonly kind: "hub";
  readonly repository: string;
  readonly revision: string;
  /** Another revision that does where the cache holds it and not the first. */
  readonly otherRevision?: string;
  /** Of files of that revision, by name. */
  readonly sha256?: Readonly<Record<string, string>>;
  /** A folder or file of the repository. */
  readonly path?: string;
  /** @default what `selectWeights` and `selectCompanions` find */
  readonly files?: readonly string[];
}

export interface UrlSource {
  readonly kind: "urls";
  readonly files: readonly RemoteFile[];
}

const repositoryName = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:\/(.+))?$/;

/** The source of a registry name or of `OWNER/NAME[/PATH]`. */
export function findSource(name: string, revision?: string): HubSource | UrlSource {
  const entry = weightEntries.find((known) => known.name === name);
  if (entry) {
    if ("urls" in entry) {
      check(
        revision === undefined,
        () => `revision: expected none for ${name}, which is a plain file, got ${revision}`,
      );
      return { kind: "urls", files: entry.urls };
    }
    const { repository, files } = entry;
    const pin = revision === undefined ? pins[repository] : undefined;
    return {
      ...{ kind: "hub", repository, revision: revision ?? "main", ...(files && { files }) },
      ...(pin && { ...pin, otherRevision: "main" }),
    };
  }
  const [, repository, path] = repositoryName.exec(name) ?? [];
  if (repository === undefined || name.split("/").includes("..")) {
    const near = weightEntries.map((known) => known.name).filter((known) => known.includes(name));
    throw new AlignTokError(
      "not-found",
      `weights ${name}: expected a registry name or OWNER/NAME of Hugging Face, got neither${near.length > 0 ? `; near it: ${listSome(near)}` : ""}. see aligntok weights list`,
    );
  }
  check(
    revision === undefined || !revision.split("/").includes(".."),
    () => `revision: expected a branch, tag or commit, got ${revision}`,
  );
  const pin = revision === undefined ? pins[repository] : undefined;
  return {
    ...{ kind: "hub", repository, revision: revision ?? "main", ...(path && { path }) },
    ...(pin && { otherRevision: pin.revision }),
  };
}

export function urlFolder(home: string, name: string): string {
  return join(home, "weights", name);
}

/**
 * The folder or file of weights in the cache, ours or Python's, or undefined where they are not there as a whole. Never
 * looks on the network.
 *
 * @param name a registry name, or `OWNER/NAME[/PATH]` of Hugging Face; anything else is not found
 */
export async function resolveWeights(
  name: string,
  { revision }: { readonly revision?: string } = {},
): Promise<string | undefined> {
  let source: HubSource | UrlSource;
  try {
    source = findSource(name, revision);
  } catch {
    return undefined;
  }
  const { home, hubCache } = readSettings();
  if (source.kind === "urls") {
    const folder = urlFolder(home, name);
    const names = source.files.map(({ url }) => basename(new URL(url).pathname));
    // a record beside a file says that it was checked
    const needed = names.flatMap((file) => [file, `${file}.json`]);
    if (!(await isComplete(folder, needed))) return undefined;
    return names.length === 1 ? join(folder, names[0]!) : folder;
  }
  const { repository, path = "", files, otherRevision } = source;
  for (const wanted of [source.revision, ...(otherRevision ? [otherRevision] : [])]) {
    const snapshot = await findSnapshot(repositoryFolder(hubCache, repository), wanted);
    const place = join(snapshot, path);
    if (path && (await isFile(place))) return place;
    if (await isComplete(place, files)) {
      return files?.length === 1 ? join(snapshot, files[0]!) : place;
    }
  }
  return undefined;
}

export interface ListedFile {
  readonly name: string;
  /** Of a file that is not from Hugging Face. */
  readonly url?: string;
  /** All digits, or the first eight, where they are known here. */
  readonly sha256?: string;
}

export interface ListedWeights {
  readonly name: string;
  readonly what: string;
  readonly licence: string;
  /** The repository on Hugging Face, or the URL of the first file. */
  readonly source: string;
  /** Of the repository: a commit, or the branch that is followed. */
  readonly revision?: string;
  /** Of a repository those that are named or hashed here; pulling finds its configuration and all shards. */
  readonly files: readonly ListedFile[];
  /** Parameters in millions, as published. */
  readonly millions?: number;
  /** Whether a licence must be accepted, and a token given. */
  readonly gated: boolean;
  /** Where it lies, if it is in the cache. */
  readonly path?: string;
}

/** Every entry of the registry, with where it lies. Never looks on the network. */
export function listWeights(): Promise<ListedWeights[]> {
  return Promise.all(
    weightEntries.map(async (entry: WeightEntry) => {
      const { name, what, licence, millions, gated = false } = entry;
      const path = await resolveWeights(name);
      return {
        name,
        what,
        licence,
        gated,
        ...describeSource(entry),
        ...(millions && { millions }),
        ...(path && { path }),
      };
    }),
  );
}

function describeSource(entry: WeightEntry): Pick<ListedWeights, "source" | "revision" | "files"> {
  if ("urls" in entry) {
    const files = entry.urls.map((file) => ({
      name: basename(new URL(file.url).pathname),
      ...file,
    }));
    return { source: entry.urls[0]!.url, files };
  }
  const { revision = "main", sha256 = {} } = pins[entry.repository] ?? {};
  const names = new Set([...(entry.files ?? []), ...Object.keys(sha256)]);
  const files = [...names].map((name) => ({ name, ...(sha256[name] && { sha256: sha256[name] }) }));
  return { source: entry.repository, revision, files };
}
