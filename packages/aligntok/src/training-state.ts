/** What a training leaves besides the model, in a file of its own: only a further training needs it. */
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { loadParameters, writeSafetensors } from "@aligntok/checkpoint";
import type { NdArray, Parameters } from "@aligntok/core";
import { withoutPrefix, withPrefix } from "./encoder.ts";

export interface TrainingState {
  /** Weights and running statistics. */
  readonly discriminator?: Parameters;
  /** Of a VA-VAE: `linear_proj.weight` (W, d, 1, 1), from latents to the width of the frozen encoder. */
  readonly projection?: NdArray<"float32">;
}

/** Its name in a folder of `saveTokenizer` or `saveAutoencoder`. */
export const trainingFile = "training.safetensors";
export const projectionName = "linear_proj.weight";
/** As in the checkpoints of LDM and VA-VAE. */
const discriminatorPrefix = "loss.discriminator.";

/** Writes the file, or removes the one of an earlier training where there is nothing to write. */
export async function writeTrainingState(
  folder: string,
  { discriminator = {}, projection }: TrainingState,
): Promise<void> {
  const path = join(folder, trainingFile);
  const tensors = {
    ...withPrefix(discriminator, discriminatorPrefix),
    ...(projection && { [projectionName]: projection }),
  };
  if (Object.keys(tensors).length === 0) return rm(path, { force: true });
  await writeSafetensors(path, tensors, { metadata: { format: "pt" } });
}

/** What a training left in a folder: nothing where it left none, or `folder` is a file. */
export async function readTrainingState(folder: string): Promise<TrainingState> {
  const path = join(folder, trainingFile);
  if (!(await stat(path).catch(() => undefined))) return {};
  const tensors = await loadParameters(path);
  const { [projectionName]: projection } = tensors;
  const discriminator = withoutPrefix(tensors, discriminatorPrefix);
  return {
    ...(Object.keys(discriminator).length > 0 && { discriminator }),
    ...(projection && { projection }),
  };
}
