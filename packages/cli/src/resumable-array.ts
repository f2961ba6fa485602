/** Arrays that a run which is cut short leaves as `F.part` and `F.part.json`, for the same command to go on with. */
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { AlignTokError, check, type NdArray } from "@aligntok/core";
import type { ImageDataset } from "@aligntok/data-laion";
import { type ArrayFile, createArrayFile } from "./array-file.ts";
import type { TokenizerMark } from "./row-metadata.ts";
import type { Session } from "./session.ts";

/** Milliseconds after which a run notes how far it came. */
const saveEvery = 5000;

/** How far a run came. */
interface PartState {
  /** Of everything that decides the values of the file. */
  readonly identity: string;
  readonly shape: readonly number[];
  /** Places of the rows that are in the part file, in order (see `RowStream`). */
  readonly kept: readonly number[];
  /** Places that were used or left out. */
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
async function readPart(path: string, identity: string): Promise<PartState | undefined> {
  const text = await readFile(statePath(path), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  if (text.includes(identity)) return JSON.parse(text) as PartState;
  throw new AlignTokError(
    "bad-input",
    `${statePath(path)}: expected the part of a run with these options and images, got one of another run. add --restart to discard it`,
  );
}

async function writePart(path: string, state: PartState): Promise<void> {
  await writeFileAtomic(statePath(path), JSON.stringify(state));
}

async function discardPart(path: string): Promise<void> {
  await rm(statePath(path), { force: true });
  await rm(`${path}.part`, { force: true });
}

/** Rows on their way into a file: place i is that of image i of the dataset, and N + i that of its row in a twin array. */
export interface RowStream {
  /** `indices`: places of the rows, ascending over all batches; places left out have no row. */
  readonly batches: AsyncIterable<{
    readonly indices: readonly number[];
    readonly rows: NdArray<"float32">;
  }>;
  /** Images left out so far, by cause. */
  skipped(): Readonly<Record<string, number>>;
}

export interface ResumableArrayOptions {
  /** Of everything that decides the values (see `identityOf`). */
  readonly identity: string;
  /** Whose images the rows are, one each. */
  readonly dataset: ImageDataset;
  /** What is counted in the progress, and named in errors. */
  readonly task: string;
  /** Name of the array in safetensors. @default "features" */
  readonly name?: string;
  /** Name of a second array, with another row for each image. @default none */
  readonly twin?: string;
  /** Class of each image, in the dtype that the file is to have. @default none */
  readonly labels?: Int32Array | BigInt64Array;
  /** What made the rows, where they are latents. @default not said */
  readonly tokenizer?: TokenizerMark;
  /** Begins anew, whatever an interrupted run has left. @default false */
  readonly restart?: boolean;
}

/** What came of the images. */
export interface WrittenArray {
  readonly shape: readonly number[];
  /** Images left out, by cause. */
  readonly skipped: Readonly<Record<string, number>>;
}

/**
 * Writes a row for each image of a dataset, batch by batch, and goes on where an interrupted run of equal `identity` was.
 *
 * @param stream rows from place `start` on
 * @throws AlignTokError `bad-input` where no image could be used, and what the stream throws; what was done stays then
 */
export async function writeResumableArray(
  path: string,
  stream: (start: number) => RowStream,
  options: ResumableArrayOptions & { readonly session: Session },
): Promise<WrittenArray> {
  const { dataset, task, name, twin, labels, tokenizer, restart, session } = options;
  const { keys, length, classes } = dataset;
  // the header, which a part file has already, holds the names of classes
  const identity = identityOf([options.identity, classes]);
  const total = twin === undefined ? length : 2 * length;
  if (restart) await discardPart(path);
  const part = await readPart(path, identity);
  if (part) session.log.info(`going on after ${part.next} of ${total} images`);
  const { batches, skipped } = stream(part?.next ?? 0);
  const open = (shape: readonly number[], done = 0) =>
    createArrayFile(
      path,
      {
        ...{ shape, keys },
        ...(name && { name }),
        ...(twin && { twin }),
        ...(labels && { labels }),
        ...(classes && { classes }),
        ...(tokenizer && { tokenizer }),
      },
      done,
    );

  const kept = [...(part?.kept ?? [])];
  let shape: readonly number[] = part?.shape ?? [];
  let file: ArrayFile | undefined;
  let next = part?.next ?? 0;
  let left = part?.skipped ?? {};
  let saved = performance.now();
  const countSkipped = () => addCounts(part?.skipped ?? {}, skipped());
  const save = () => writePart(path, { identity, shape, kept, next, skipped: left });
  try {
    if (part) file = await open(shape, kept.length);
    for await (const { indices, rows } of batches) {
      shape = [length, ...rows.shape.slice(1)];
      file ??= await open(shape);
      await file.append(rows.data);
      kept.push(...indices);
      next = indices.at(-1)! + 1;
      left = countSkipped(); // of places below next; the stream comes upon later ones before its next batch
      session.onProgress({ task, done: next, total });
      if (performance.now() - saved < saveEvery) continue;
      await save();
      saved = performance.now();
    }
    left = countSkipped();
    check(
      file,
      () =>
        `${task}: expected an image that can be used, got none of ${length} (left out: ${JSON.stringify(left)}). give others, or leave --on-error skip out to see what is wrong with the first`,
    );
    next = total;
    await file.finish(firstRows(kept, total / length, length));
    await discardPart(path);
  } finally {
    if (kept.length > 0 && file && (await file.leave())) await save();
  }
  return { shape: [(kept.length * length) / total, ...shape.slice(1)], skipped: left };
}

/** Places of the first array's rows. @throws AlignTokError `bad-input` where its twin has rows of other images */
function firstRows(kept: readonly number[], arrays: number, length: number): readonly number[] {
  const first = kept.filter((place) => place < length);
  const other = kept.slice(first.length).findIndex((place, i) => place - length !== first[i]);
  check(
    other < 0 && kept.length === arrays * first.length,
    "images: expected the same ones to be readable in both passes, got others. add --restart to begin anew",
  );
  return first;
}

function addCounts(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  const sum = { ...a };
  for (const [cause, count] of Object.entries(b)) sum[cause] = (sum[cause] ?? 0) + count;
  return sum;
}
