/** Autoencoders on disk, whoever wrote them. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { openCheckpoint } from "@aligntok/checkpoint";
import {
  AlignTokError,
  check,
  type LatentStats,
  listSome,
  type NdArray,
  sizeOf,
  toFloat32,
} from "@aligntok/core";
import { asCount, asNumber, type Json } from "../config-json.ts";
import { readFolderConfig, takeStats, writeModelFolder } from "../model-folder.ts";
import type { RowFunctionOptions } from "../row-function.ts";
import { readTrainingState, trainingFile, writeTrainingState } from "../training-state.ts";
import { type AutoencoderConfig, type AutoencoderModel, autoencoderModels } from "./autoencoder.ts";
import {
  adaptAutoencoder,
  isAutoencoder,
  readAutoencoderConfig,
  renameAutoencoder,
} from "./autoencoder-names.ts";
import { type Autoencoder, createAutoencoder } from "./autoencoder-tokenizer.ts";
import { type TinyAutoencoderConfig, tinyAutoencoderModels } from "./taesd.ts";
import {
  adaptTinyAutoencoder,
  halfOf,
  isTinyAutoencoder,
  readTinyAutoencoderConfig,
  renameTinyAutoencoder,
} from "./taesd-names.ts";
import {
  createTinyAutoencoder,
  type TinyAutoencoder,
  type TinyAutoencoderWeights,
} from "./taesd-tokenizer.ts";
import type { TrainedAutoencoder } from "./train-autoencoder.ts";

type Tensors = Readonly<Record<string, NdArray>>;

export interface OpenAutoencoderOptions extends RowFunctionOptions {
  /**
   * Which of several models of one shape a file without `config.json` holds: a key of `autoencoderModels`.
   * @default the first of that shape: `sd-vae` rather than `sdxl-vae`, `flux-ae` rather than `sd3-vae`
   */
  readonly model?: AutoencoderModel;
}

/** What a file or folder turned out to hold. */
export interface Opened {
  /** A key of `autoencoderModels`, keys of `tinyAutoencoderModels` that it may be, or what kind it is for other sizes. */
  readonly model: string;
  /** Keys of the file that are no part of the autoencoder: losses, frozen encoders, other networks. */
  readonly ignored: readonly string[];
}

/** `model_type` in the `config.json` of `saveAutoencoder` and `saveTinyAutoencoder`. */
const ourType = "autoencoder_kl";
const ourTinyType = "autoencoder_tiny";

/** Names and values of a file, and what lies beside it. */
interface Found {
  readonly tensors: Tensors;
  /** Of `config.json`. */
  readonly json: Json;
  /** Of LightningDiT's file of statistics. */
  readonly beside: StatsFile | undefined;
}

interface StatsFile {
  readonly path: string;
  readonly tensors: Tensors;
}

/** LightningDiT's name for the statistics of its latents: `mean` and `std`, [1, d, 1, 1]. */
const statsFile = /^latents_stats\.(safetensors|pt)$/;

/** An autoencoder that was found, its values not yet read. */
export type FoundAutoencoder = Opened & {
  /** Under the names of `parameters`, in the dtypes of the file. */
  readonly tensors: Tensors;
} & (
    | { readonly kind: "tiny"; readonly config: TinyAutoencoderConfig }
    | {
        readonly kind: "kl";
        readonly config: AutoencoderConfig;
        /** As `AutoencoderWeights` has them. */
        readonly stats: LatentStats | undefined;
      }
  );

/**
 * Opens a published autoencoder, known by its keys.
 *
 * @param path a file that `openCheckpoint` reads: VA-VAE's Lightning checkpoint, LDM's, a whole Stable Diffusion, FLUX's
 *   `ae.safetensors`, or either half of a TAESD, whose other half lies beside it; or a folder of diffusers
 *   (`AutoencoderKL`, `AutoencoderTiny`), of `saveAutoencoder`, with both halves of a TAESD, or with one such file.
 *   LightningDiT's `latents_stats.pt` or `.safetensors` beside it become its statistics
 * @throws AlignTokError `not-found`, `bad-format`, `unsupported`; `bad-input` listing the keys that are missing or unknown
 */
export async function openAutoencoder(
  path: string,
  { model, ...options }: OpenAutoencoderOptions = {},
): Promise<(Autoencoder | TinyAutoencoder) & Opened> {
  const found = await findAutoencoder(path, model);
  const opened = { model: found.model, ignored: found.ignored };
  if (found.kind === "tiny") {
    const { config, tensors } = found;
    const parameters = adaptTinyAutoencoder(config, tensors);
    return { ...createTinyAutoencoder({ config, parameters }, options), ...opened };
  }
  const { config, tensors, stats } = found;
  const parameters = adaptAutoencoder(config, tensors);
  return { ...createAutoencoder({ config, parameters, stats }, options), ...opened };
}

/** What `path` holds; errors as of `openAutoencoder`. */
export async function findAutoencoder(
  path: string,
  model?: AutoencoderModel,
): Promise<FoundAutoencoder> {
  const { tensors, json, beside } = await readFound(path);
  const { _class_name: kind = "AutoencoderKL" } = json;
  if (kind !== "AutoencoderKL" && kind !== "AutoencoderTiny") {
    throw new AlignTokError(
      "unsupported",
      `tokenizer ${path}: expected AutoencoderKL or AutoencoderTiny of diffusers, got ${kind}. others cannot be opened`,
    );
  }
  if (isTinyAutoencoder(tensors)) {
    check(
      model === undefined,
      () => `model: expected none for a tiny autoencoder, got ${model}. leave it out`,
    );
    const renamed = renameTinyAutoencoder(tensors);
    const config = readTinyAutoencoderConfig(renamed);
    const name = nameTinyAutoencoder(config);
    return { kind: "tiny", config, tensors: renamed, model: name, ignored: [] };
  }
  if (isAutoencoder(tensors)) {
    const { ignored, ...renamed } = renameAutoencoder(tensors);
    const shape = readAutoencoderConfig(renamed.tensors);
    const { rest, stats } = takeStats(renamed.tensors, shape.latent);
    const config = { ...shape, ...readScales(json, shape, model) };
    return {
      kind: "kl",
      config,
      tensors: rest,
      model: nameAutoencoder(config),
      ignored,
      stats: stats ?? (beside && parseStats(beside, shape.latent)) ?? readStats(json),
    };
  }
  throw new AlignTokError(
    "unsupported",
    `tokenizer ${path}: expected the keys of a VA-VAE, LDM, Stable Diffusion, FLUX or tiny autoencoder, got ${listSome(Object.keys(tensors))}. see aligntok weights inspect`,
  );
}

/**
 * An autoencoder, whatever `openAutoencoder` opens but a tiny one, for `trainAutoencoder` to go on with; and of a folder of
 * `saveAutoencoder` the discriminator and projection that a training left.
 *
 * @throws AlignTokError as of `openAutoencoder`; `unsupported` for a tiny one
 */
export async function loadTrainedAutoencoder(
  path: string,
  { model }: Pick<OpenAutoencoderOptions, "model"> = {},
): Promise<TrainedAutoencoder> {
  const found = await findAutoencoder(path, model);
  if (found.kind === "tiny") {
    throw new AlignTokError(
      "unsupported",
      `autoencoder ${path}: expected one that trainAutoencoder trains, got a ${found.model}`,
    );
  }
  const { config, tensors, stats } = found;
  const parameters = adaptAutoencoder(config, tensors);
  return { config, parameters, stats, ...(await readTrainingState(path)) };
}

/**
 * Writes `config.json` and `model.safetensors`, under LDM's names, into a folder, made where absent; of a trained one
 * also `training.safetensors` with its discriminator and projection, which only `loadTrainedAutoencoder` reads.
 */
export async function saveAutoencoder(
  folder: string,
  { config, parameters, stats, ...training }: TrainedAutoencoder,
): Promise<void> {
  const json = {
    model_type: ourType,
    num_groups: config.groups ?? 32,
    ...(config.scale !== undefined && { scale_factor: config.scale }),
    ...(config.shift !== undefined && { shift_factor: config.shift }),
  };
  await writeModelFolder(folder, { config: json, parameters, stats });
  await writeTrainingState(folder, training);
}

/** Writes `config.json` and `model.safetensors`, under upstream's names, into a folder, made where absent. */
export async function saveTinyAutoencoder(
  folder: string,
  { parameters }: TinyAutoencoderWeights,
): Promise<void> {
  await writeModelFolder(folder, { config: { model_type: ourTinyType }, parameters });
}

async function readFound(path: string): Promise<Found> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory();
  const folder = isFolder ? path : dirname(path);
  const names = (await readdir(folder).catch(() => [])).sort();
  const statsName = names.find((name) => statsFile.test(name));
  const beside = statsName ? await readStatsFile(join(folder, statsName)) : undefined;
  if (!isFolder) return { tensors: await readFile(path), json: {}, beside };
  const json = names.includes("config.json") ? await readFolderConfig(path) : {};
  const file = names.find((name) => /^diffusion_pytorch_model\.(safetensors|bin)$/.test(name));
  const encoders = names.filter((name) => /encoder.*\.(pth|pt|safetensors)$/.test(name));
  const weights = names.filter((name) => /\.(pt|pth|ckpt|safetensors)$/.test(name));
  const others = weights.filter((name) => !statsFile.test(name) && name !== trainingFile);
  const only = file ?? [encoders, others].find(({ length }) => length === 1)?.[0];
  return { tensors: await readFile(only ? join(path, only) : path), json, beside };
}

async function readStatsFile(path: string): Promise<StatsFile> {
  return { path, tensors: (await openCheckpoint(path)).tensors };
}

/** @throws AlignTokError `bad-input` where they are of other latents */
function parseStats({ path, tensors: { mean, std } }: StatsFile, latent: number): LatentStats {
  for (const array of [mean, std]) {
    check(
      array && sizeOf(array.shape) === latent,
      () =>
        `${path}: expected mean and std of ${latent} channels, as the autoencoder beside it has, got ${array ? `[${array.shape}]` : "none"}. move it elsewhere if it is of another one`,
    );
  }
  return { mean: toFloat32(mean!).data, std: toFloat32(std!).data };
}

/** The tensors of a file; where it is a half of a TAESD, of both, whose names are the same until they are joined. */
async function readFile(path: string): Promise<Tensors> {
  const { tensors } = await openCheckpoint(path);
  const half = isTinyAutoencoder(tensors) ? halfOf(tensors) : undefined;
  if (!half) return tensors;
  const other = half === "encoder" ? "decoder" : "encoder";
  const name = basename(path);
  check(
    name.includes(half),
    () =>
      `tiny autoencoder: expected a file called *${half}*, with *${other}* beside it, got ${name}. rename both`,
  );
  const found = await openCheckpoint(join(dirname(path), name.replace(half, other)));
  return { ...renameTinyAutoencoder(tensors), ...renameTinyAutoencoder(found.tensors) };
}

/** Groups, scale and shift, which shapes do not tell: of `config.json`, and what it lacks as published. */
function readScales(
  json: Json,
  shape: AutoencoderConfig,
  model: AutoencoderModel | undefined,
): Partial<AutoencoderConfig> {
  const alike = Object.entries(autoencoderModels).filter(([, known]) => isAlike(known, shape));
  const [, known] = alike.find(([name]) => name === (model ?? name)) ?? [];
  check(
    known || model === undefined,
    () =>
      `model: expected ${listSome(alike.map(([name]) => name)) || "none"} for a file of these shapes, got ${model}. leave it out or name one of these`,
  );
  const groups = json.norm_num_groups ?? json.num_groups;
  const scale = json.scaling_factor ?? json.scale_factor;
  const shift = json.shift_factor;
  return {
    ...(json.model_type !== ourType && known),
    ...(groups != null && { groups: asCount(groups, "norm_num_groups") }),
    ...(scale != null && { scale: asNumber(scale, "scaling_factor") }),
    ...(shift != null && { shift: asNumber(shift, "shift_factor") }),
  };
}

/** What diffusers writes for latents whose channels are normalised one by one. */
function readStats({ latents_mean: mean, latents_std: std }: Json): LatentStats | undefined {
  if (!Array.isArray(mean) || !Array.isArray(std)) return undefined;
  const toArray = (values: readonly unknown[], key: string) =>
    Float32Array.from(values, (value) => asNumber(value, key));
  return { mean: toArray(mean, "latents_mean"), std: toArray(std, "latents_std") };
}

function isAlike(a: AutoencoderConfig, b: AutoencoderConfig): boolean {
  const sizes = ({ attention = [], quantConvs = true, ...config }: AutoencoderConfig) =>
    `${[config.latent, config.channels, config.blocks, quantConvs, config.pixelShuffle ?? 1]}/${config.multipliers}/${attention}`;
  return sizes(a) === sizes(b);
}

function nameAutoencoder(config: AutoencoderConfig): string {
  const isSame = (known: AutoencoderConfig) =>
    isAlike(known, config) && known.scale === config.scale && known.shift === config.shift;
  const found = Object.entries(autoencoderModels).find(([, known]) => isSame(known));
  return found?.[0] ?? "autoencoder";
}

function nameTinyAutoencoder({ latent, channels, pooled }: TinyAutoencoderConfig): string {
  const models: Readonly<Record<string, TinyAutoencoderConfig>> = tinyAutoencoderModels;
  const isSame = (known: TinyAutoencoderConfig) =>
    known.latent === latent && known.channels === channels && known.pooled === pooled;
  const found = Object.keys(models).filter((name) => isSame(models[name]!));
  return found.join(" or ") || "tiny autoencoder";
}
