/**
 * Latents or features on disk, one row an image, read batch by batch: files of `encode` and `features`, LightningDiT's
 * shards, and anything else with one array that is read here.
 */
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint } from "@aligntok/checkpoint";
import {
  AlignTokError,
  bytesPerElement,
  check,
  type DType,
  listSome,
  type NdArray,
  rows,
  sizeOf,
  toFloat32,
  viewBytes,
} from "@aligntok/core";
import { type ClassNames, parseRowMetadata, type RowMetadata } from "./row-metadata.ts";

export interface RowFile extends RowMetadata {
  /** As given on the command line. */
  readonly path: string;
  /** Latents `(N, h, w, d)`, tokens `(N, t, d)` or vectors `(N, d)`. */
  readonly shape: readonly number[];
  /** Class index of each image, where the file has them. */
  readonly labels?: Int32Array;
  /** All rows in order, at most `size` at a time. */
  batches(size: number): AsyncGenerator<NdArray<"float32">>;
}

/**
 * Opens a file, or all `*.safetensors` of a folder and those below it in the order of their names. Their array is called
 * `latents` (channels first) or `features`, or is the only one beside `labels`.
 *
 * @throws AlignTokError `not-found`, `io`, `bad-format`, `unsupported`; `bad-input` for a file of another kind
 */
export async function openRowFiles(path: string): Promise<readonly RowFile[]> {
  const files: RowFile[] = [];
  for (const part of await partsOf(path)) files.push(await openPart(part));
  return files;
}

/**
 * Opens the same as one, since its rows have one shape.
 *
 * @throws AlignTokError as `openRowFiles`; `bad-input` for shards that do not fit one another, in shape or classes
 */
export async function openRowFile(path: string): Promise<RowFile> {
  const parts = await openRowFiles(path);
  const [first] = parts as [RowFile, ...RowFile[]];
  for (const part of parts) {
    if (part.shape.slice(1).join() === first.shape.slice(1).join()) continue;
    throw new AlignTokError(
      "bad-input",
      `${part.path}: expected rows of shape [${first.shape.slice(1)}] like the first shard, got [${part.shape.slice(1)}]. put shards of one kind into a folder of their own`,
    );
  }
  const keys = parts.flatMap((part) => part.keys ?? []);
  const labels = parts.flatMap((part) => (part.labels ? [...part.labels] : []));
  const count = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const classes = joinClasses(parts);
  return {
    path,
    shape: [count, ...first.shape.slice(1)],
    ...(keys.length === count && { keys }),
    ...(labels.length === count && { labels: Int32Array.from(labels) }),
    ...(classes && { classes }),
    async *batches(size) {
      for (const part of parts) yield* part.batches(size);
    },
  };
}

/** Names of the classes of all, where all have names. */
function joinClasses(parts: readonly RowFile[]): ClassNames | undefined {
  if (!parts.every(({ classes }) => classes)) return undefined;
  const joined: Record<string, string> = {};
  for (const { path, classes } of parts) {
    for (const [label, name] of Object.entries(classes ?? {})) {
      joined[label] ??= name;
      check(
        joined[label] === name,
        () =>
          `${path}: expected class ${label} to be ${joined[label]} as in files before it, got ${name}. encode their images from one folder of classes`,
      );
    }
  }
  return joined;
}

async function partsOf(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true });
  const names = entries.filter((name) => name.endsWith(".safetensors")).sort();
  if (names.length > 0) return names.map((name) => join(path, name));
  throw new AlignTokError(
    "not-found",
    `${path}: expected *.safetensors shards in it, got none. make them with aligntok encode or aligntok features`,
  );
}

async function openPart(path: string): Promise<RowFile> {
  const { tensors, metadata } = await openCheckpoint(path);
  const { labels, ...others } = tensors;
  const names = Object.keys(others);
  const name = ["latents", "features"].find((known) => known in others) ?? names[0];
  const array = name === undefined ? undefined : others[name];
  const known = name === "latents" || name === "features";
  const rank = array?.shape.length ?? 0;
  const most = name === "features" ? 3 : 4; // features of several layers are no rows of one kind
  if (
    !array ||
    (!known && names.length > 1) ||
    rank < 2 ||
    rank > most ||
    sizeOf(array.shape) === 0
  ) {
    const got = Object.entries(tensors).map(([key, { shape }]) => `${key} [${shape}]`);
    throw new AlignTokError(
      "bad-input",
      `${path}: expected latents [N,d,h,w] or features [N,d] or [N,t,d], got ${listSome(got) || "no array"}. make one with aligntok encode or aligntok features`,
    );
  }
  const [count = 0, ...row] = array.shape;
  const planes = rank === 4;
  const [d = 0, h = 0, w = 0] = row;
  const { keys, imageSize, ...about } = parseRowMetadata(metadata);
  return {
    ...about,
    path,
    shape: planes ? [count, h, w, d] : array.shape,
    ...(keys?.length === count && { keys }),
    ...(imageSize && count === 1 && { imageSize }),
    ...(labels?.shape.join() === `${count}` && { labels: Int32Array.from(toFloat32(labels).data) }),
    async *batches(size) {
      const { permuteLatents } = await import("@aligntok/diffusion");
      for await (const batch of readRows(array, size)) {
        yield planes ? permuteLatents(batch, "nhwc") : batch;
      }
    },
  };
}

/** Rows of an array that lies in a file as it lies in memory are read as they are asked for. */
async function* readRows(array: NdArray<DType>, size: number): AsyncGenerator<NdArray<"float32">> {
  const { dtype, shape, source } = array;
  const [count = 0, ...row] = shape;
  if (!source) {
    for (let start = 0; start < count; start += size) {
      yield toFloat32(rows(array, start, Math.min(count, start + size)));
    }
    return;
  }
  const bytesPerRow = sizeOf(row) * bytesPerElement(dtype);
  const file = await open(source.path, "r");
  try {
    for (let start = 0; start < count; start += size) {
      const n = Math.min(size, count - start);
      const bytes = new Uint8Array(n * bytesPerRow);
      const position = source.offset + start * bytesPerRow;
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
        if (bytesRead === 0) {
          throw new AlignTokError(
            "bad-format",
            `${source.path}: expected ${bytes.length - done} more bytes, got the end of the file. make the file again; it was cut short`,
          );
        }
        done += bytesRead;
      }
      yield toFloat32(viewBytes(bytes, [n, ...row], dtype));
    }
  } finally {
    await file.close();
  }
}
