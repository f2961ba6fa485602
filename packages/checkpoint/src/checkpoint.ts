/** Any file or folder of weights, known by its first bytes. */

import { existsSync } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { AlignTokError, listSome, type NdArray } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { mapGraphdef } from "./graphdef.ts";
import { mapSafetensors } from "./mapped-safetensors.ts";
import { mapNpy } from "./npy.ts";
import { startsNpy } from "./npy-header.ts";
import { isNpyMember, mapNpz } from "./npz.ts";
import { mapOpenvino } from "./openvino.ts";
import { isPyTorchMember, mapPyTorch, startsPyTorch } from "./pytorch.ts";
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
  if (head[8] === "{".charCodeAt(0)) {
    return { format: "safetensors", ...(await mapSafetensors(path)) };
  }
  if (/^\s*<(\?xml|net\b)/.test(Buffer.from(head).toString("utf8").replace("\ufeff", ""))) {
    return { format: "openvino", ...(await mapOpenvino(path)) };
  }
  if (startsNpy(head)) {
    return { format: "npy", tensors: { array: await mapNpy(path) }, metadata: {} };
  }
  if (Buffer.from(head.subarray(0, 4)).toString("latin1") === "PK\x03\x04") {
    return openArchive(path);
  }
  if (startsPyTorch(head)) return { format: "pytorch", ...(await mapPyTorch(path)) };
  if (startsGraph(head)) return { format: "graphdef", ...(await mapGraphdef(path)) };
  // the data of OpenVINO has no mark of its own
  const xml = path.replace(/\.bin$/, ".xml");
  if (xml !== path && existsSync(xml)) return { format: "openvino", ...(await mapOpenvino(xml)) };
  throw new AlignTokError(
    "unsupported",
    `checkpoint ${path}: expected safetensors, PyTorch, NumPy, OpenVINO (.xml) or a frozen TensorFlow graph (.pb), got ${stats.size} bytes that start with ${describe(head)}. convert it to safetensors with the library that wrote it`,
  );
}

/** A node (field 1) that starts with its name (field 1). */
function startsGraph(head: Uint8Array): boolean {
  let at = 1;
  while (at < 6 && head[at]! >= 0x80) at++;
  return head[0] === 0x0a && head[at + 1] === 0x0a;
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

/** The first bytes of a file: enough to know every format. */
async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path, "r").catch((error) => {
    throw fileError("read", path, error);
  });
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function describe(head: Uint8Array): string {
  return Buffer.from(head.subarray(0, 8)).toString("hex") || "nothing";
}
