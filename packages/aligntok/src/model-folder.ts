/** Models on disk: a folder with `config.json` and a `model.safetensors` that PyTorch opens. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic, writeSafetensors } from "@aligntok/checkpoint";
import {
  AlignTokError,
  check,
  type LatentStats,
  type NdArray,
  ndarray,
  type Parameters,
  toFloat32,
} from "@aligntok/core";
import { asRecord, type Json } from "./config-json.ts";

const statsKeys = { mean: "latent_stats.mean", std: "latent_stats.std" } as const;

export interface ModelFolder {
  /** What `config.json` holds. */
  readonly config: object;
  readonly parameters: Parameters;
  /** Of each latent channel: `latent_stats.{mean,std}` (d) beside the parameters. */
  readonly stats?: LatentStats | undefined;
}

/** Makes the folder where absent. @throws AlignTokError `io` when it cannot be written */
export async function writeModelFolder(
  folder: string,
  { config, parameters, stats }: ModelFolder,
): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new AlignTokError(
      "io",
      `tokenizer: expected a folder that can be written, got ${folder}. choose another one`,
      { cause },
    );
  }
  const tensors = {
    ...parameters,
    ...(stats && {
      [statsKeys.mean]: ndarray(stats.mean, [stats.mean.length]),
      [statsKeys.std]: ndarray(stats.std, [stats.std.length]),
    }),
  };
  await writeSafetensors(join(folder, "model.safetensors"), tensors, {
    metadata: { format: "pt" },
  });
  await writeFileAtomic(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** @throws AlignTokError `not-found` without the file; `bad-format` when it is not JSON; `bad-input` when it is no object */
export async function readFolderConfig(folder: string): Promise<Json> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new AlignTokError(
      cause.code === "ENOENT" ? "not-found" : "io",
      `tokenizer: expected a readable ${path}, got ${cause.code}. a tokenizer is a folder with config.json and model.safetensors`,
      { cause },
    );
  });
  return asRecord(parse(path, text), "config.json");
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected JSON, got ${text.length} characters that do not parse. download or save the tokenizer again`,
      { cause },
    );
  }
}

/** The statistics apart from the other tensors. */
export function takeStats<T extends NdArray>(
  tensors: Readonly<Record<string, T>>,
  latent: number,
): { readonly rest: Record<string, T>; readonly stats: LatentStats | undefined } {
  const { [statsKeys.mean]: mean, [statsKeys.std]: std, ...rest } = tensors;
  for (const array of [mean, std]) {
    check(
      !array || array.shape.join() === `${latent}`,
      () =>
        `latent_stats: expected shape [${latent}], got [${array?.shape}]. they are those of another tokenizer, save this one again`,
    );
  }
  const stats = mean && std && { mean: toFloat32(mean).data, std: toFloat32(std).data };
  return { rest, stats };
}
