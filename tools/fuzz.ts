/**
 * Damaged files of every format (safetensors, npy and npz, PyTorch and TorchScript, OpenVINO, TensorFlow's graphs,
 * images): each must be read or refused with an AlignTokError, in bounded time and memory.
 *
 *   npm run fuzz -- --count 10000 --seed 1
 *
 * The files are mutated and read in child processes of limited heap, one batch each. A child that dies, or takes
 * longer than a minute over a batch, is a failure, too; the case it was at is named.
 */
import { fork } from "node:child_process";
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { crc32 } from "node:zlib";
import { loadParameters, parseNpy, readNpz, readPyTorch } from "@aligntok/checkpoint";
import { AlignTokError, createRandom, type Random } from "@aligntok/core";
import { decodeImage } from "@aligntok/image";

const { values: flags } = parseArgs({
  options: {
    count: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    from: { type: "string" },
  },
});
const count = Number(flags.count);
const seed = Number(flags.seed);
const batch = 250;
const batchMs = 60_000;
/** MiB that one damaged file may add to a process, of files that have some kilobytes. */
const mostGrowth = 512;
const root = join(import.meta.dirname, "..", "packages");

interface Outcome {
  readonly index: number;
  readonly kind: string;
  /** `read`, the code of an AlignTokError, or `FAILED` and what was thrown. */
  readonly result: string;
}

if (flags.from === undefined) await superviseAll();
else await runBatch(Number(flags.from));

async function superviseAll(): Promise<void> {
  const results = new Map<string, number>();
  const failures: string[] = [];
  for (let from = 0; from < count; from += batch) {
    for (const { index, kind, result } of await superviseBatch(from)) {
      if (result.startsWith("FAILED")) failures.push(`case ${index}, ${kind}: ${result}`);
      const key = `${kind.padEnd(24)} ${result.split(":")[0]}`;
      results.set(key, (results.get(key) ?? 0) + 1);
    }
  }
  for (const [key, number] of [...results].sort()) console.log(`${key.padEnd(48)} ${number}`);
  for (const failure of failures) console.log(failure);
  console.log(`${count} files, seed ${seed}: ${failures.length} failures`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

/** Outcomes of a batch; a case that ends the process counts as failed, and the batch goes on behind it. */
async function superviseBatch(from: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const to = Math.min(from + batch, count);
  for (let next = from; next < to; ) {
    const args = ["--count", String(to), "--seed", String(seed), "--from", String(next)];
    const child = fork(import.meta.filename, args, {
      execArgv: [...process.execArgv, "--max-old-space-size=512"],
    });
    let current = { index: next, kind: "start" };
    const timer = setTimeout(() => child.kill("SIGKILL"), batchMs);
    child.on("message", (message: Outcome) => {
      if (message.result === "begun") current = message;
      else outcomes.push(message);
    });
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
      child.on("close", (...end) => resolve(end));
    });
    clearTimeout(timer);
    if (code !== 0) outcomes.push({ ...current, result: `FAILED: ended by ${signal ?? code}` });
    next = code === 0 ? to : current.index + 1;
  }
  return outcomes;
}

async function runBatch(from: number): Promise<void> {
  // each format as often as any other, whatever the number of its samples
  const groups = Object.values(listSamples());
  const other = readFileSync(groups[0]![0]!);
  const folder = mkdtempSync(join(tmpdir(), "aligntok-fuzz-"));
  try {
    for (let index = from; index < count; index++) {
      const random = createRandom(seed, "fuzz", index);
      const group = groups[random.integer(groups.length)]!;
      const sample = group[random.integer(group.length)]!;
      const kind = basename(sample);
      process.send?.({ index, kind, result: "begun" });
      const mutated = mutate(readFileSync(sample), other, random);
      const bytes = random.integer(2) === 0 ? mutated : withChecksums(mutated);
      const result = await attempt(bytes, join(folder, kind), sample);
      process.send?.({ index, kind, result });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  process.disconnect?.();
}

/** The goldens of the readers, of at most 100 KB each, by format. */
function listSamples(): Record<string, string[]> {
  const folders = ["checkpoint/test/fixtures", "image/test/fixtures"].map((name) =>
    join(root, name),
  );
  const all = folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))),
    )
    .sort();
  const endings = {
    safetensors: /\.safetensors$/,
    npy: /\.npy$/,
    npz: /\.npz$/,
    pytorch: /\.(pth?|ckpt)$/,
    graphdef: /\.pb$/,
    openvino: /\.xml$/,
    image: /\.(png|jpe?g|webp|gif|tiff?|bmp|p[bgp]m|avif)$/,
  };
  const samples = Object.entries(endings).map(([format, ending]) => {
    const found = all.filter((path) => ending.test(path));
    if (found.length === 0) throw new Error(`no samples of ${format} in ${folders.join(", ")}`);
    return [format, found] as const;
  });
  return Object.fromEntries(samples);
}

async function attempt(bytes: Uint8Array, path: string, sample: string): Promise<string> {
  const before = process.memoryUsage().rss;
  let result = "read";
  try {
    if (sample.includes("/image/")) await decodeImage(bytes);
    else {
      writeFileSync(path, bytes);
      // the data of OpenVINO stays whole: what is damaged is where it is said to lie
      if (path.endsWith(".xml")) copyFileSync(binOf(sample), binOf(path));
      await readAllWays(path, bytes);
    }
  } catch (error) {
    result = AlignTokError.isInstance(error) ? error.code : `FAILED: ${(error as Error).stack}`;
  }
  const growth = (process.memoryUsage().rss - before) / 2 ** 20;
  return growth > mostGrowth ? `FAILED: grew by ${growth.toFixed(0)} MiB` : result;
}

function binOf(xml: string): string {
  return xml.replace(/\.xml$/, ".bin");
}

/** By every function that reads such a file; an error of one is that of the others as a rule. */
async function readAllWays(path: string, bytes: Uint8Array): Promise<void> {
  if (path.endsWith(".npy")) parseNpy(bytes);
  if (path.endsWith(".npz")) await readNpz(path);
  if (/\.(pth?|ckpt)$/.test(path)) await readPyTorch(path);
  await loadParameters(path);
}

/** One to four changes: flipped bits, bytes of extremes, lengths, cuts, copies of parts, parts of another file. */
function mutate(original: Uint8Array, other: Uint8Array, random: Random): Buffer {
  let bytes = Buffer.from(original);
  for (let changes = 1 + random.integer(4); changes > 0 && bytes.length > 8; changes--) {
    // headers lie at the start, directories at the end
    const zone = [Math.min(bytes.length, 256), bytes.length][random.integer(2)]!;
    const at =
      random.integer(4) === 0 ? bytes.length - 1 - random.integer(zone) : random.integer(zone);
    const length = 1 + random.integer(Math.min(64, bytes.length - at));
    const extreme = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff][random.integer(5)]!;
    const kind = random.integer(7);
    if (kind === 0) bytes[at]! ^= 1 << random.integer(8);
    else if (kind === 1) bytes[at] = random.integer(256);
    else if (kind === 2 && at + 4 <= bytes.length) bytes.writeUInt32LE(extreme, at);
    else if (kind === 3 && at + 4 <= bytes.length) bytes.writeUInt32BE(extreme, at);
    else if (kind === 4) bytes = bytes.subarray(0, at);
    else if (kind === 5) {
      const part = bytes.subarray(at, at + length);
      bytes = Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
    } else {
      const from = random.integer(other.length);
      const part = other.subarray(from, from + length);
      bytes = Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + part.length)]);
    }
  }
  return bytes;
}

/** A zip whose directory has the checksums of its stored members as they are: what lies in them is read, too. */
function withChecksums(bytes: Buffer): Buffer {
  const entryMark = "PK\x01\x02";
  for (let at = bytes.indexOf(entryMark); at >= 0; at = bytes.indexOf(entryMark, at + 4)) {
    if (at + 46 > bytes.length) break;
    const [size, local] = [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 42)];
    if (bytes.readUInt16LE(at + 10) !== 0 || local + 30 > bytes.length) continue;
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    bytes.writeUInt32LE(crc32(bytes.subarray(start, start + size)), at + 16);
  }
  return bytes;
}
