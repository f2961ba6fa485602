/**
 * Latents at rest: per-channel statistics, and files in LightningDiT's layout (hustvl/LightningDiT @ 2725fed,
 * extract_features.py): safetensors shards with `latents`, `latents_flip` (N, d, h, w) and `labels` (N).
 * In memory latents are `(N, h, w, d)`, the layout of the `Tokenizer` contract.
 * Difference: statistics are those of the latents given, not of a random 10,000, and live with the tokenizer.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import {
  AlignTokError,
  check,
  concatRows,
  type LatentStats,
  listSome,
  type NdArray,
  ndarray,
  toFloat32,
} from "@aligntok/core";

/** Latents of labelled images, ready to train on. */
export interface LatentSet {
  /** `(N, h, w, d)` float32. */
  readonly latents: NdArray<"float32">;
  /** The same images mirrored left to right before encoding; same shape. */
  readonly flipped?: NdArray<"float32">;
  /** `(N)` class indices. */
  readonly labels: Int32Array;
}

/**
 * Mean and standard deviation of each channel of latents `(N, h, w, d)`: two passes in float64, divided by n - 1 like
 * `torch.std`.
 */
export function computeLatentStats(latents: NdArray<"float32">): LatentStats {
  const { data } = latents;
  const d = latents.shape.at(-1) ?? 0;
  const count = data.length / d;
  check(
    latents.shape.length === 4 && count >= 2,
    () =>
      `latent statistics: expected (N, h, w, d) with 2 positions or more, got [${latents.shape}]`,
  );
  const mean = new Float64Array(d);
  const squares = new Float64Array(d);
  for (let i = 0; i < data.length; i++) mean[i % d]! += data[i]!;
  for (let c = 0; c < d; c++) mean[c]! /= count;
  for (let i = 0; i < data.length; i++) squares[i % d]! += (data[i]! - mean[i % d]!) ** 2;
  return {
    mean: Float32Array.from(mean),
    std: Float32Array.from(squares, (sum) => Math.sqrt(sum / (count - 1))),
  };
}

/** `(z - mean) / std`, channel by channel, of latents `(N, h, w, d)`. A constant channel (std 0) becomes 0. */
export function normalizeLatents(
  latents: NdArray<"float32">,
  stats: LatentStats,
): NdArray<"float32"> {
  const d = checkStats(latents, stats);
  const scale = stats.std.map((std) => (std > 0 ? 1 / std : 0));
  const data = latents.data.map((z, i) => (z - stats.mean[i % d]!) * scale[i % d]!);
  return ndarray(data, latents.shape);
}

/** `z std + mean`, the inverse of `normalizeLatents`. */
export function denormalizeLatents(
  latents: NdArray<"float32">,
  stats: LatentStats,
): NdArray<"float32"> {
  const d = checkStats(latents, stats);
  const data = latents.data.map((z, i) => z * stats.std[i % d]! + stats.mean[i % d]!);
  return ndarray(data, latents.shape);
}

function checkStats(latents: NdArray<"float32">, { mean, std }: LatentStats): number {
  const d = latents.shape.at(-1) ?? 0;
  check(
    mean.length === d && std.length === d,
    () =>
      `latents: expected statistics of ${d} channels, got ${mean.length} means and ${std.length} deviations`,
  );
  return d;
}

/** Writes one shard that LightningDiT's `ImgLatentDataset` reads. The file appears whole or not at all. */
export async function writeLatents(path: string, set: LatentSet): Promise<void> {
  const count = set.latents.shape[0] ?? 0;
  check(
    set.labels.length === count,
    () => `latents: expected ${count} labels, one a latent, got ${set.labels.length}`,
  );
  await writeSafetensors(path, {
    latents: permuteLatents(set.latents, "nchw"),
    ...(set.flipped && { latents_flip: permuteLatents(set.flipped, "nchw") }),
    labels: ndarray(BigInt64Array.from(set.labels, BigInt), [count], "int64"),
  });
}

/**
 * Reads one shard, or all `*.safetensors` shards of a folder in the order of their names.
 *
 * @throws AlignTokError `not-found` for a folder without shards, `bad-format` for a file that is not a latent shard.
 */
export async function readLatents(path: string): Promise<LatentSet> {
  const sets = await Promise.all((await shardPaths(path)).map(readShard));
  const flipped = sets.flatMap((set) => set.flipped ?? []);
  if (flipped.length > 0 && flipped.length < sets.length) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected latents_flip in all ${sets.length} shards or in none, got ${flipped.length}. write the shards alike`,
    );
  }
  return {
    latents: concatRows(sets.map((set) => set.latents)),
    ...(flipped.length > 0 && { flipped: concatRows(flipped) }),
    labels: concatRows(sets.map((set) => ndarray(set.labels, [set.labels.length], "int32"))).data,
  };
}

async function shardPaths(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new AlignTokError("not-found", `latents: expected a file or folder at ${path}`, {
      cause,
    });
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => name.endsWith(".safetensors")).sort();
  if (names.length === 0) {
    throw new AlignTokError("not-found", `latents: expected *.safetensors shards in ${path}`);
  }
  return names.map((name) => join(path, name));
}

async function readShard(path: string): Promise<LatentSet> {
  const { tensors } = await readSafetensors(path);
  const { latents, latents_flip: mirrored, labels } = tensors;
  if (
    !latents ||
    !labels ||
    latents.shape.length !== 4 ||
    labels.shape.join() !== `${latents.shape[0]}` ||
    (mirrored && mirrored.shape.join() !== latents.shape.join())
  ) {
    const got = Object.entries(tensors).map(([name, { shape }]) => `${name} [${shape}]`);
    throw new AlignTokError(
      "bad-format",
      `${path}: expected latents (N, d, h, w), latents_flip like it or absent, and labels (N), got ${listSome(got)}`,
    );
  }
  return {
    latents: permuteLatents(toFloat32(latents), "nhwc"),
    ...(mirrored && { flipped: permuteLatents(toFloat32(mirrored), "nhwc") }),
    labels: Int32Array.from(toFloat32(labels).data),
  };
}

/**
 * Copies latents of files, `(N, d, h, w)`, to the layout in memory, `(N, h, w, d)` (`to: "nhwc"`), or back.
 *
 * @throws AlignTokError `bad-input` for arrays without four dimensions
 */
export function permuteLatents(array: NdArray<"float32">, to: "nchw" | "nhwc"): NdArray<"float32"> {
  check(array.shape.length === 4, () => `latents: expected four dimensions, got [${array.shape}]`);
  const [n, a, b, c] = array.shape as [number, number, number, number];
  const [rows, columns] = to === "nchw" ? [a * b, c] : [a, b * c];
  const data = new Float32Array(array.data.length);
  for (let i = 0; i < n; i++) {
    const offset = i * rows * columns;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        data[offset + column * rows + row] = array.data[offset + row * columns + column]!;
      }
    }
  }
  return ndarray(data, to === "nchw" ? [n, c, a, b] : [n, b, c, a]);
}
