/** Braces and globs in paths, so that `{000..003}.tar` means the same in a config file as in a shell. */
import { type Dirent, existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { AlignTokError, check } from "@aligntok/core";
import { readError } from "./byte-source.ts";

/** A slip of the keyboard such as `{0..9999999999}` must not fill the memory. */
const mostPaths = 1_000_000;

/**
 * Shell braces: `{a,b}`, `{0..11}`, `{000..011}` (zero-padded), nested and repeated. A brace that is neither
 * stays as it is. The order is the shell's: the last brace runs fastest.
 *
 * ```ts
 * import { expandBraces } from "@aligntok/data-laion";
 *
 * expandBraces("train-{000..002}.tar"); // train-000.tar, train-001.tar, train-002.tar
 * ```
 *
 * @throws AlignTokError `bad-input` for more than a million paths
 */
export function expandBraces(pattern: string): string[] {
  const brace = findBrace(pattern);
  if (!brace) return [pattern];
  const { start, end, parts } = brace;
  const head = pattern.slice(0, start);
  const tails = expandBraces(pattern.slice(end));
  const choices = parts.length === 1 ? expandRange(parts[0]!) : parts.flatMap(expandBraces);
  check(
    choices.length * tails.length <= mostPaths,
    () => `${pattern}: expected at most ${mostPaths} paths, got ${choices.length * tails.length}`,
  );
  return choices.flatMap((choice) => tails.map((tail) => head + choice + tail));
}

const range = /^(-?\d+)\.\.(-?\d+)$/;

/** The first brace with a comma or a range in it. */
function findBrace(
  pattern: string,
): { readonly start: number; readonly end: number; readonly parts: readonly string[] } | undefined {
  const open: { start: number; commas: number[] }[] = [];
  let found: { start: number; end: number; parts: string[] } | undefined;
  for (let i = 0; i < pattern.length; i++) {
    const inner = open.at(-1);
    if (pattern[i] === "{") open.push({ start: i, commas: [] });
    else if (pattern[i] === "," && inner) inner.commas.push(i);
    else if (pattern[i] === "}" && inner) {
      open.pop();
      const { start, commas } = inner;
      const bounds = [start, ...commas, i];
      const parts = bounds.slice(1).map((bound, part) => pattern.slice(bounds[part]! + 1, bound));
      const expands = commas.length > 0 || range.test(parts[0]!);
      // a brace that closes later but began earlier is the outer one
      if (expands && (!found || start < found.start)) found = { start, end: i + 1, parts };
      if (found && open.length === 0) return found;
    }
  }
  return found;
}

function expandRange(text: string): string[] {
  const [, first = "", last = ""] = range.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  const count = Math.abs(to - from) + 1;
  check(count <= mostPaths, () => `{${text}}: expected at most ${mostPaths} paths, got ${count}`);
  const padded = [first, last].some((number) => /^-?0\d/.test(number));
  const width = padded ? Math.max(first.length, last.length) : 0;
  return Array.from({ length: count }, (_, i) => {
    const value = from < to ? from + i : from - i;
    const digits = String(Math.abs(value));
    return value < 0 ? `-${digits.padStart(width - 1, "0")}` : digits.padStart(width, "0");
  });
}

/**
 * The paths that a pattern stands for: braces are expanded, then `*`, `?`, `[a-z]` and `**` (any folders) matched
 * against what exists, each sorted. A path that exists under that very name is taken literally.
 * Names beginning with a dot match only a pattern that begins with one.
 *
 * @throws AlignTokError `not-found` when a path does not exist or a glob matches nothing; `bad-input`, `io`
 */
export async function expandPaths(pattern: string | readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const one of typeof pattern === "string" ? [pattern] : pattern) {
    for (const path of existsSync(one) ? [one] : expandBraces(one)) {
      if (existsSync(path)) paths.push(path);
      else if (/[*?[]/.test(path)) paths.push(...(await glob(path)));
      else throw new AlignTokError("not-found", `${path}: no such file or folder. check the path`);
    }
  }
  return paths;
}

async function glob(pattern: string): Promise<string[]> {
  const segments = pattern.replaceAll("\\", "/").split("/");
  let found = [segments[0] === "" ? "/" : ""];
  if (segments[0] === "") segments.shift();
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1;
    if (!/[*?[]/.test(segment)) {
      found = found.map((folder) => join(folder, segment)).filter((path) => existsSync(path));
      continue;
    }
    const next = await Promise.all(found.map((folder) => matchIn(folder, segment, last)));
    found = [...new Set(next.flat())];
  }
  if (found.length === 0) {
    throw new AlignTokError("not-found", `${pattern}: expected matching files, got none`);
  }
  return found.sort();
}

async function matchIn(folder: string, segment: string, last: boolean): Promise<string[]> {
  const entries = await list(folder || ".");
  if (segment === "**") {
    const below = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
    const deeper = await Promise.all(
      below.map((entry) => matchIn(join(folder, entry.name), segment, last)),
    );
    const files = last ? entries.filter((entry) => entry.isFile()) : [];
    return [...(last ? files.map(({ name }) => join(folder, name)) : [folder]), ...deeper.flat()];
  }
  const matcher = segmentPattern(segment);
  return entries
    .filter(({ name }) => matcher.test(name) && (segment[0] === "." || name[0] !== "."))
    .filter((entry) => last || entry.isDirectory() || entry.isSymbolicLink())
    .map(({ name }) => join(folder, name));
}

async function list(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw readError(folder, error);
  }
}

/** `*`, `?` and `[...]` of one path segment as a regular expression. */
function segmentPattern(segment: string): RegExp {
  let source = "";
  for (let i = 0; i < segment.length; i++) {
    const character = segment[i]!;
    const close = character === "[" ? segment.indexOf("]", i + 2) : -1;
    if (character === "*") {
      if (!source.endsWith(".*")) source += ".*";
    } else if (character === "?") source += ".";
    else if (close > 0) {
      const set = segment.slice(i + 1, close).replace(/[\\\]]/g, "\\$&");
      source += `[${set.replace(/^!/, "^")}]`;
      i = close;
    } else source += character.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  }
  return new RegExp(`^${source}$`, "su");
}
