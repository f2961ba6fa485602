/**
 * A trained generator as a folder: `config.json` (architecture and latent statistics), `model.safetensors`, and
 * `ema.safetensors` where an average was kept. Both weight files have upstream's names and open in PyTorch.
 */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadParameters, writeFileAtomic, writeSafetensors } from "@aligntok/checkpoint";
import { AlignTokError, type LatentStats, listSome, type Parameters } from "@aligntok/core";
import {
  checkLightningDitConfig,
  type LightningDitConfig,
  lightningDitShapes,
} from "./lightningdit.ts";

export interface DiffusionModel {
  readonly config: LightningDitConfig;
  readonly params: Parameters;
  /** Moving average of `params`: what to sample from. */
  readonly ema?: Parameters;
  /** Statistics by which the training latents were normalised; samples are denormalised by them. */
  readonly stats?: LatentStats;
}

/** `config.json`. */
interface ConfigFile extends LightningDitConfig {
  readonly model: "LightningDiT";
  readonly latentStats?: { readonly mean: readonly number[]; readonly std: readonly number[] };
}

/**
 * Writes a generator to a folder, which is made where absent. `config.json` appears last, so a folder that has one is
 * whole.
 */
export async function saveDiffusion(folder: string, model: DiffusionModel): Promise<void> {
  const { config, params, ema, stats } = model;
  checkParameters(config, params, "saveDiffusion");
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new AlignTokError("io", `${folder}: cannot be made. choose a writable folder`, { cause });
  }
  await writeSafetensors(join(folder, "model.safetensors"), params);
  if (ema) await writeSafetensors(join(folder, "ema.safetensors"), ema);
  const file: ConfigFile = {
    model: "LightningDiT",
    ...config,
    ...(stats && { latentStats: { mean: [...stats.mean], std: [...stats.std] } }),
  };
  await writeFileAtomic(join(folder, "config.json"), `${JSON.stringify(file, null, 2)}\n`);
}

/**
 * Reads a folder that `saveDiffusion` wrote, or upstream's state dict as `model.safetensors` with a `config.json`.
 *
 * @throws AlignTokError `not-found` for absent files, `bad-format` for a configuration that is not a LightningDiT's,
 * `bad-input` for weights that do not belong to the configuration.
 */
export async function loadDiffusion(folder: string): Promise<DiffusionModel> {
  const path = join(folder, "config.json");
  const { latentStats, config } = parseConfig(await readConfig(path), path);
  const params = await loadParameters(join(folder, "model.safetensors"));
  checkParameters(config, params, join(folder, "model.safetensors"));
  const ema = await loadOptional(join(folder, "ema.safetensors"));
  if (ema) checkParameters(config, ema, join(folder, "ema.safetensors"));
  return {
    config,
    params,
    ...(ema && { ema }),
    ...(latentStats && {
      stats: {
        mean: Float32Array.from(latentStats.mean),
        std: Float32Array.from(latentStats.std),
      },
    }),
  };
}

async function readConfig(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new AlignTokError("not-found", `${path}: expected the config of a diffusion model`, {
      cause,
    });
  }
}

function parseConfig(
  text: string,
  path: string,
): { config: LightningDitConfig; latentStats: ConfigFile["latentStats"] } {
  let file: ConfigFile;
  try {
    file = JSON.parse(text) as ConfigFile;
  } catch (cause) {
    throw new AlignTokError("bad-format", `${path}: expected JSON`, { cause });
  }
  const { model, latentStats, ...config } = file ?? {};
  if (model !== "LightningDiT") {
    throw new AlignTokError("bad-format", `${path}: expected model "LightningDiT", got "${model}"`);
  }
  checkLightningDitConfig(config);
  const channels = (values: unknown) =>
    Array.isArray(values) && values.length === config.inChannels && values.every(Number.isFinite);
  if (latentStats && !(channels(latentStats.mean) && channels(latentStats.std))) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected latentStats of ${config.inChannels} means and deviations`,
    );
  }
  return { config, latentStats };
}

async function loadOptional(path: string): Promise<Parameters | undefined> {
  try {
    return await loadParameters(path);
  } catch (error) {
    if (AlignTokError.isInstance(error) && error.code === "not-found") return undefined;
    throw error;
  }
}

/** @throws AlignTokError `bad-input` unless names and shapes are exactly the configuration's. */
export function checkParameters(
  config: LightningDitConfig,
  params: Parameters,
  what: string,
): void {
  const shapes = lightningDitShapes(config);
  const wrong = [
    ...Object.entries(shapes).flatMap(([name, shape]) => {
      const found = params[name];
      if (!found) return [`${name} missing`];
      return found.shape.join() === shape.join()
        ? []
        : [`${name} [${found.shape}] instead of [${shape}]`];
    }),
    ...Object.keys(params).flatMap((name) => (name in shapes ? [] : [`${name} unknown`])),
  ];
  if (wrong.length > 0) {
    throw new AlignTokError(
      "bad-input",
      `${what}: expected the ${Object.keys(shapes).length} parameters of its config, got ${listSome(wrong)}. check depth, width and the switches of the config`,
    );
  }
}
