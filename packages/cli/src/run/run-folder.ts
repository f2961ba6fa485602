/** What a run keeps on disk, so that a killed one continues. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { AlignTokError, check, listSome } from "@aligntok/core";
import { parse, stringify } from "yaml";
import { isRecord } from "../is-record.ts";

/** A small JSON file that appears whole, or is `undefined`. */
async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readText(path);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(path, error);
  }
}

function parseSettings(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    return (parse(text) ?? {}) as Record<string, unknown>;
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `${path}: cannot be read. delete it, or choose another folder`,
    { cause },
  );
}

export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw new AlignTokError(
      "io",
      `${path}: cannot be made (${(cause as Error).message}). choose a writable folder with --out`,
      { cause },
    );
  }
}

/**
 * Opens the folder: a new one gets `config.yaml`, one that has it must be a run of the same settings, and is continued
 * only where `resume` allows it.
 */
export async function openRunFolder(
  out: string,
  config: object,
  { resume }: { readonly resume: boolean },
): Promise<void> {
  await makeFolder(out);
  const path = join(out, "config.yaml");
  const text = stringify(config);
  const found = await readText(path);
  if (found === undefined) {
    await writeFileAtomic(path, text);
    return;
  }
  check(
    resume,
    () => `${out}: holds a run already. add --resume to continue it, or choose another --out`,
  );
  const [before, now] = [parseSettings(found, path), parseSettings(text, path)];
  const different = findDifferences(before, now);
  check(
    different.length === 0,
    () =>
      `${out}: holds a run with other settings (${listSome(different)}). give the same ones to continue it, or another --out`,
  );
}

/** The dotted keys of what two settings have different. */
function findDifferences(a: unknown, b: unknown, path = ""): string[] {
  if (JSON.stringify(a) === JSON.stringify(b)) return [];
  if (!isRecord(a) || !isRecord(b)) return [path];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => findDifferences(a[key], b[key], path ? `${path}.${key}` : key));
}

export interface Clock {
  /** Runs a part of the run and adds its seconds to what earlier processes spent on it. */
  time<T>(part: string, work: () => Promise<T>): Promise<T>;
  /** Adds seconds to a part that ran before the folder was open. */
  add(part: string, seconds: number): Promise<void>;
  /** Seconds by part, in the order in which they came. */
  readonly seconds: Readonly<Record<string, number>>;
}

/** Seconds spent, kept in `timings.json` across processes. */
export async function openClock(out: string): Promise<Clock> {
  const path = join(out, "timings.json");
  const seconds = (await readJson<Record<string, number>>(path)) ?? {};
  async function add(part: string, spent: number): Promise<void> {
    seconds[part] = (seconds[part] ?? 0) + spent;
    await writeJson(path, seconds);
  }
  return {
    seconds,
    add,
    async time(part, work) {
      const start = performance.now();
      try {
        return await work();
      } finally {
        await add(part, (performance.now() - start) / 1000);
      }
    },
  };
}
