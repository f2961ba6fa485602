/** How far the run came that left an array file as `F.part`: in `F.part.json`, for the same command to go on. */
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { AlignTokError } from "@aligntok/core";

/** How far a run came. */
export interface PartState {
  /** Of everything that decides the values of the file. */
  readonly identity: string;
  readonly shape: readonly number[];
  /** Places in the source of the rows that are in the part file, in order. */
  readonly kept: readonly number[];
  /** Images of the source that were used or left out. */
  readonly next: number;
  /** Images left out, by cause. */
  readonly skipped: Readonly<Record<string, number>>;
}

const statePath = (path: string): string => `${path}.part.json`;

/** A name for the values of a run: equal for equal inputs alone. */
export function identityOf(inputs: unknown): string {
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex");
}

/**
 * Where to continue, or undefined to begin.
 *
 * @throws AlignTokError `bad-input` for the part of another run
 */
export async function readPart(path: string, identity: string): Promise<PartState | undefined> {
  const text = await readFile(statePath(path), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  if (text.includes(identity)) return JSON.parse(text) as PartState;
  throw new AlignTokError(
    "bad-input",
    `${statePath(path)}: expected the part of a run with these options and images, got one of another run. add --restart to discard it`,
  );
}

export async function writePart(path: string, state: PartState): Promise<void> {
  await writeFileAtomic(statePath(path), JSON.stringify(state));
}

export async function discardPart(path: string): Promise<void> {
  await rm(statePath(path), { force: true });
  await rm(`${path}.part`, { force: true });
}
