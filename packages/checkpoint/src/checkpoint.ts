/** Any file or folder of weights, known by its first bytes. */

import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { AlignTokError, listSome, type NdArray } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { findFileKind, findStranger, readHead } from "./file-kind.ts";
import { mapGraphdef } from "./graphdef.ts";
import { mapSafetensors } from "./mapped-safetensors.ts";
import { mapNpy } from "./npy.ts";
import { isNpyMember, mapNpz } from "./npz.ts";
import { mapOpenvino } from "./openvino.ts";
import { isPyTorchMember, mapPyTorch } from "./pytorch.ts";
import { selectWeights, usualWeights } from "./registry/hub-files.ts";
import { openShards } from "./sharded.ts";
import { listZipMembers } from "./zip.ts";

export type CheckpointFormat = "safetensors" | "pytorch" | "npy" | "npz" | "openvino" | "graphdef";

/** What a file or folder of weights holds. */
export interface Checkpoint {
  readonly format: CheckpointFormat;
  /**
   * By their names in the file, nested dictionaries of PyTorch joined by dots (`model.blocks.0.norm1.weight`), in
   * the dtypes of the file; the one of a `.npy` file is called `array`. `data` is read when first looked at where the format allows (see `mapSafetensors`).
   */
  readonly tensors: Readonly<Record<string, NdArray>>;
  /** Text and numbers beside the tensors: the metadata of safetensors, the scalars of a pickle by their path. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Opens a file of weights of any format, which its first bytes tell, never its name, or a folder of Hugging
 * Face, or the index (`model.safetensors.index.json`) of a model in several files.
 *
 * The file must stay as it is for as long as the tensors are used (see `mapSafetensors`).
 *
 * @throws AlignTokError `not-found`; `io`; `bad-format` for a damaged file; `unsupported` for a format or dtype that
 * is not read here.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const stats = await stat(path).catch((error) => {
    throw fileError("read", path, error);
  });
  if (stats.isDirectory()) return openFolder(path);
  if (path.endsWith(".index.json")) {
    const { first, tensors, metadata } = await openShards(path, openCheckpoint);
    return {
      format: first?.format ?? "safetensors",
      tensors,
      metadata: { ...first?.metadata, ...metadata },
    };
  }
  const head = await readHead(path);
  const kind = findFileKind(head);
  switch (kind) {
    case "safetensors":
      return { format: kind, ...(await mapSafetensors(path)) };
    case "openvino":
      return { format: kind, ...(await mapOpenvino(path)) };
    case "npy":
      return { format: kind, tensors: { array: await mapNpy(path) }, metadata: {} };
    case "zip":
      return openArchive(path);
    case "pytorch":
      return { format: kind, ...(await mapPyTorch(path)) };
    case "graphdef":
      return { format: kind, ...(await mapGraphdef(path)) };
  }
  // the data of OpenVINO has no mark of its own
  const xml = path.replace(/\.bin$/, ".xml");
  if (xml !== path && existsSync(xml)) return { format: "openvino", ...(await mapOpenvino(xml)) };
  const stranger = findStranger(kind);
  if (stranger) {
    const { got, next } = stranger;
    throw new AlignTokError(
      "bad-format",
      `checkpoint ${path}: expected weights, got ${got}. ${next}`,
    );
  }
  throw new AlignTokError(
    "unsupported",
    `checkpoint ${path}: expected safetensors, PyTorch, NumPy, OpenVINO (.xml) or a frozen TensorFlow graph (.pb), got ${stats.size} bytes that start with ${describe(head)}. convert it to safetensors with the library that wrote it`,
  );
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const present = new Set(await readdir(folder));
  const file = await selectWeights((name) => present.has(name));
  if (file) return openCheckpoint(join(folder, file));
  throw new AlignTokError(
    "not-found",
    `checkpoint ${folder}: expected ${usualWeights.join(", ")} in it, got ${listSome([...present]) || "an empty folder"}. give the path of the file`,
  );
}

/** A zip archive: of PyTorch, or of NumPy's arrays. */
async function openArchive(path: string): Promise<Checkpoint> {
  const members = await listZipMembers(path);
  if (members.some(isNpyMember) && !members.some(isPyTorchMember)) {
    return { format: "npz", tensors: await mapNpz(members), metadata: {} };
  }
  return { format: "pytorch", ...(await mapPyTorch(path, members)) };
}

function describe(head: Uint8Array): string {
  return Buffer.from(head.subarray(0, 8)).toString("hex");
}
