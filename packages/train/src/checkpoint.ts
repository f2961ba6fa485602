/**
 * Checkpoints as folders of safetensors that PyTorch opens too:
 *
 *   RUN/checkpoints/step-000100/{model,ema,optimizer}.safetensors + state.json
 *
 * A folder is written under another name and appears by rename, so a process killed at any moment
 * leaves the checkpoint before. What is unfinished or damaged all the same is passed over when loading.
 */
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors, writeFileAtomic, writeSafetensors } from "@aligntok/checkpoint";
import { AlignTokError, check, type NdArray } from "@aligntok/core";

/** Arrays of one file by name. */
export type TensorSet = Readonly<Record<string, NdArray>>;

export interface CheckpointContent {
  /** Files by name, such as `model`, `ema` and `optimizer`. */
  readonly tensors: Readonly<Record<string, TensorSet>>;
  /** Anything else that resuming needs, as JSON: positions of data sources, settings. @default null */
  readonly state?: unknown;
}

export interface Checkpoint extends Required<CheckpointContent> {
  /** Steps done when it was saved. */
  readonly step: number;
  /** Its folder. */
  readonly path: string;
  /** Folders of later steps that were passed over because they are unfinished or damaged. */
  readonly skipped: readonly string[];
}

/** `state.json`: names of the sets, so that a missing file is noticed. */
interface StateFile {
  readonly step: number;
  readonly sets: readonly string[];
  readonly state: unknown;
}

const folderName = (step: number) => `step-${String(step).padStart(6, "0")}`;
const temporary = ".unfinished-";
const replaced = ".replaced";
const folderPattern = /^step-(\d{6,})(\.replaced)?$/;

/**
 * Saves a checkpoint of `step` under `runFolder/checkpoints` and removes older ones. An existing one
 * of that step is replaced. Returns its folder.
 * @throws AlignTokError `io` where the disk is full or the folder cannot be written.
 */
export async function saveCheckpoint(
  runFolder: string,
  step: number,
  options: CheckpointContent & {
    /** Checkpoints to leave, this one included. @default 2 */
    readonly keep?: number;
  },
): Promise<string> {
  const { tensors, state = null, keep = 2 } = options;
  check(
    Number.isSafeInteger(step) && step >= 0,
    () => `checkpoint step: expected a whole number of at least 0, got ${step}`,
  );
  check(keep >= 1, () => `checkpoints to keep: expected at least 1, got ${keep}`);
  for (const set of Object.keys(tensors)) {
    check(
      /^[a-z0-9][a-z0-9_-]*$/i.test(set),
      () => `checkpoint tensors: expected names of letters, digits, - and _, got "${set}"`,
    );
  }
  const parent = join(runFolder, "checkpoints");
  const unfinished = join(parent, temporary + folderName(step));
  const path = join(parent, folderName(step));
  try {
    await mkdir(parent, { recursive: true });
    await removeUnfinished(parent);
    await mkdir(unfinished);
    for (const [set, arrays] of Object.entries(tensors)) {
      await writeSafetensors(join(unfinished, `${set}.safetensors`), arrays);
    }
    const file: StateFile = { step, sets: Object.keys(tensors), state };
    await writeFileAtomic(join(unfinished, "state.json"), `${JSON.stringify(file, null, 2)}\n`);
    await replaceFolder(unfinished, path);
    await prune(parent, step, keep);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined);
    throw asIoError(error, `checkpoint ${path}`);
  }
  return path;
}

/**
 * The checkpoint of the latest step that can be read completely, or undefined where there is none.
 * @throws AlignTokError `io` where the operating system refuses to read.
 */
export async function loadLatestCheckpoint(runFolder: string): Promise<Checkpoint | undefined> {
  const parent = join(runFolder, "checkpoints");
  const skipped: string[] = [];
  try {
    for (const { name } of await listFolders(parent)) {
      const path = join(parent, name);
      const read = await readCheckpoint(path);
      if (read) return { ...read, path, skipped };
      skipped.push(path);
    }
  } catch (error) {
    throw asIoError(error, `checkpoints in ${parent}`);
  }
  return undefined;
}

/** A checkpoint's content, or undefined where it is unfinished or damaged. */
async function readCheckpoint(
  path: string,
): Promise<Omit<Checkpoint, "path" | "skipped"> | undefined> {
  try {
    const file = JSON.parse(await readFile(join(path, "state.json"), "utf8")) as StateFile;
    const tensors: Record<string, TensorSet> = {};
    for (const set of file.sets) {
      tensors[set] = (await readSafetensors(join(path, `${set}.safetensors`))).tensors;
    }
    return Number.isSafeInteger(file.step)
      ? { step: file.step, tensors, state: file.state }
      : undefined;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

function isDamage(error: unknown): boolean {
  if (AlignTokError.isInstance(error)) return ["bad-format", "not-found"].includes(error.code);
  const { code } = error as NodeJS.ErrnoException;
  // a TypeError: state.json is JSON of another kind
  return error instanceof SyntaxError || error instanceof TypeError || code === "ENOENT";
}

/** Checkpoint folders, latest first; of one step the current before the replaced one. */
async function listFolders(parent: string): Promise<{ name: string; step: number }[]> {
  const names = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const match = folderPattern.exec(name);
      return match ? [{ name, step: Number(match[1]) }] : [];
    })
    .sort((a, b) => b.step - a.step || a.name.length - b.name.length);
}

/** A folder cannot be renamed onto a full one: the old one steps aside, where loading still finds it. */
async function replaceFolder(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["ENOTEMPTY", "EEXIST", "EPERM"].includes(code)) throw error;
    await rm(to + replaced, { recursive: true, force: true });
    await rename(to, to + replaced);
    await rename(from, to);
  }
}

/** What processes killed while saving have left. */
async function removeUnfinished(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (name.startsWith(temporary)) await rm(join(parent, name), { recursive: true, force: true });
  }
}

/** Later steps than the saved one are no business of this run's. */
async function prune(parent: string, step: number, keep: number): Promise<void> {
  const folders = (await listFolders(parent)).filter((folder) => folder.step <= step);
  const kept = folders.filter(({ name }) => !name.endsWith(replaced)).slice(0, keep);
  for (const folder of folders) {
    if (!kept.includes(folder)) {
      await rm(join(parent, folder.name), { recursive: true, force: true });
    }
  }
}

const advice: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full. free some space and run the same command again",
  EDQUOT: "the disk quota is used up. free some space and run the same command again",
  EACCES: "permission denied. choose a folder that you may write",
  EPERM: "permission denied. choose a folder that you may write",
  EROFS: "the file system is read-only. choose another folder",
  ENOTDIR: "a part of the path is a file. choose another folder",
  EEXIST: "a part of the path is a file. choose another folder",
};

/** The operating system's refusal as one clear line; anything else is returned as it is. */
export function asIoError(error: unknown, what: string): unknown {
  if (AlignTokError.isInstance(error) || !(error instanceof Error) || !("code" in error)) {
    return error;
  }
  const reason = advice[String(error.code)] ?? error.message;
  return new AlignTokError("io", `${what}: ${reason}.`, { cause: error });
}
