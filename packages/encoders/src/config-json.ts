/** Reading configurations from JSON: the file, and values of the types that we expect. */
import { readFile } from "node:fs/promises";
import { AlignTokError, check, listSome, type PixelSize, pixelSize } from "@aligntok/core";

export type Json = Readonly<Record<string, unknown>>;

/** The parsed file; undefined where there is none. @throws AlignTokError `io`, `bad-format`. */
export async function readJson(path: string): Promise<object | undefined> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw new AlignTokError("io", `${path}: expected a readable file, got ${cause.code}`, {
      cause,
    });
  });
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected JSON, got ${text.length} characters that do not parse`,
      { cause },
    );
  }
}

export function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function number(json: Json, key: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  check(
    typeof value === "number" && Number.isFinite(value) && value >= 0,
    () => `config ${key}: expected a number, got ${JSON.stringify(value)}`,
  );
  return value;
}

/** A whole number; positive unless the fallback is 0. Bounded, so that no file makes us allocate without end. */
export function count(json: Json, key: string, fallback?: number): number {
  const value = number(json, key, fallback);
  const least = fallback === 0 ? 0 : 1;
  check(
    Number.isInteger(value) && value >= least && value <= 100_000,
    () => `config ${key}: expected a whole number from ${least} to 100000, got ${value}`,
  );
  return value;
}

/** The side of square images, or a list of height and width. */
export function pixels(json: Json, key: string, fallback?: PixelSize): PixelSize {
  const value = json[key] ?? fallback;
  if (!Array.isArray(value)) return count({ [key]: value }, key);
  const [height, width, ...others] = value.map((side) => count({ [key]: side }, key));
  check(
    height && width && others.length === 0,
    () =>
      `config ${key}: expected a whole number, or height and width, got ${JSON.stringify(value)}`,
  );
  return pixelSize(height, width);
}

export function triple(value: unknown, key: string): readonly [number, number, number] {
  check(
    Array.isArray(value) && value.length === 3 && value.every(Number.isFinite),
    () => `config ${key}: expected three numbers, got ${JSON.stringify(value)}`,
  );
  return value as unknown as readonly [number, number, number];
}

/** One of the choices; the first where the key is absent. */
export function oneOf<T extends string>(json: Json, key: string, choices: readonly [T, ...T[]]): T {
  const value = json[key] ?? choices[0];
  const choice = choices.find((name) => name === value);
  check(choice, () => `config ${key}: expected ${listSome(choices)}, got ${JSON.stringify(value)}`);
  return choice;
}
