/**
 * Graphs as ONNX Runtime has optimised them, in a folder. Loading one leaves out the optimiser, which takes most of
 * the time of a load. Runs on the main thread and in the worker thread.
 *
 * An entry is a file named by what it was made of and for: the graph, the versions of the library and the processor
 * (optimised graphs have layouts of a processor). It begins with a digest of the rest, so that one that was damaged
 * is made again. Files appear by rename, so that processes may share a folder. A graph that holds large weights is not
 * kept: it would push out many others, and writing it takes longer than optimising it saves.
 */
import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { arch, cpus } from "node:os";
import { dirname, join } from "node:path";
import type { InferenceSession } from "onnxruntime-node";

type Options = InferenceSession.SessionOptions;
type Create = (bytes: Uint8Array, options: Options) => Promise<InferenceSession>;

const maxBytes = 256 * 2 ** 20; // entries of a ViT-S training step take 0.2 MB
const maxEntryBytes = maxBytes / 4;
const draftMs = 3600e3; // one that is older was left by a process that was killed
const digestBytes = 32;

export interface GraphCache {
  readonly folder: string;
  /** Of the library. */
  readonly version: string;
  /** See `channel-block.ts`: names of processors do not tell what a virtual machine passes on of them. */
  readonly channelBlock: number;
}

/**
 * A session for these bytes by `create`, from what the folder holds where it holds it. The folder exists. Where it
 * cannot be written after all, the session is as good; the next process tries again.
 */
export async function createCached(
  create: Create,
  bytes: Uint8Array,
  options: Options,
  { folder, ...made }: GraphCache,
): Promise<InferenceSession> {
  if (bytes.byteLength > maxEntryBytes) return await create(bytes, options);
  const path = join(folder, `${nameOf(bytes, options, made)}.onnx`);
  const known = await readEntry(path);
  const loaded =
    known &&
    (await create(known, { ...options, graphOptimizationLevel: "disabled" }).catch(
      () => undefined,
    ));
  if (loaded) {
    const now = new Date();
    await utimes(path, now, now).catch(() => {}); // gone since, where another process made room
    return loaded;
  }
  const draft = join(folder, `${randomUUID()}.tmp`);
  try {
    const session = await create(bytes, { ...options, optimizedModelFilePath: draft });
    await keep(draft, path).catch(() => {});
    return session;
  } catch {
    return await create(bytes, options); // throws again where the graph is at fault
  } finally {
    await rm(draft, { force: true });
  }
}

/** Makes an entry of what ONNX Runtime wrote, unless constants that it computed made it large. */
async function keep(draft: string, path: string): Promise<void> {
  if ((await stat(draft)).size > maxEntryBytes) return;
  const optimized = await readFile(draft);
  await writeFile(draft, Buffer.concat([digest(optimized), optimized]));
  await rename(draft, path);
  await makeRoom(dirname(path));
}

function nameOf(bytes: Uint8Array, options: Options, made: Omit<GraphCache, "folder">): string {
  const all = { options, ...made, arch: arch(), processor: cpus()[0]?.model };
  return digest(Buffer.concat([digest(bytes), Buffer.from(JSON.stringify(all))])).toString("hex");
}

function digest(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

async function readEntry(path: string): Promise<Uint8Array | undefined> {
  const entry = await readFile(path).catch(() => undefined);
  const content = entry?.subarray(digestBytes);
  if (!content || !digest(content).equals(entry!.subarray(0, digestBytes))) return undefined;
  return content;
}

/** Drops the entries that were used least recently, and old drafts. Files of other names are left alone. */
async function makeRoom(folder: string): Promise<void> {
  const names = await readdir(folder);
  const entries = await statFiles(
    folder,
    names.filter((name) => /^[0-9a-f]{64}\.onnx$/.test(name)),
  );
  const drafts = await statFiles(
    folder,
    names.filter((name) => /^[0-9a-f-]{36}\.tmp$/.test(name)),
  );
  for (const { path, used } of drafts) {
    if (used < Date.now() - draftMs) await rm(path, { force: true });
  }
  entries.sort((a, b) => b.used - a.used);
  let total = 0;
  for (const { path, size } of entries) {
    total += size;
    if (total > maxBytes) await rm(path, { force: true });
  }
}

/** Size and time of the last use of those files that are still there. */
async function statFiles(folder: string, names: readonly string[]) {
  const found = [];
  for (const name of names) {
    const path = join(folder, name);
    const file = await stat(path).catch(() => undefined);
    if (file) found.push({ path, size: file.size, used: file.mtimeMs });
  }
  return found;
}
