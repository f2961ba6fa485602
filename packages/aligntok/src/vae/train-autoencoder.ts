/** Trains a plain autoencoder or a VA-VAE, with checkpoints that resume bit for bit. */
import { createRandom, ndarray, type Parameters } from "@aligntok/core";
import { resamplePositions, type ViTConfig, vitShapes } from "@aligntok/encoders";
import { torchLinear } from "@aligntok/nn";
import { selectParameters } from "@aligntok/train";
import { withPrefix } from "../encoder.ts";
import {
  estimateReconstruction,
  type ReconstructionSize,
  type TrainingEstimate,
} from "../reconstruction-memory.ts";
import {
  type BatchPart,
  type EvaluationOptions,
  type ReconstructionTraining,
  type ReconstructionTrainingOptions,
  type StageBatch,
  trainReconstruction,
} from "../reconstruction-training.ts";
import { projectionName, type TrainingState } from "../training-state.ts";
import { autoencoderShapes, autoencoderStride } from "./autoencoder.ts";
import {
  type AutoencoderStepConfig,
  createAutoencoderStep,
  type VisionConfig,
  visionPrefix,
} from "./autoencoder-step.ts";
import type { AutoencoderWeights } from "./autoencoder-tokenizer.ts";

/** What a phase does, apart from where and for how long. */
interface PhaseOptions
  extends Omit<AutoencoderStepConfig, "autoencoder" | "vision" | "discriminator">,
    Pick<ReconstructionTrainingOptions, "seed" | "discriminator"> {
  /** The frozen encoder of a VA-VAE, and how it is followed. @default none, a plain autoencoder */
  readonly vision?: Omit<VisionConfig, "encoder"> & {
    readonly encoder: { readonly config: ViTConfig; readonly parameters: Parameters };
  };
  /** Steps before the discriminator starts: VA-VAE's 5000 in its first phase, 0 later. @default 5000 */
  readonly discriminatorStart?: number;
  /** Decay of the moving average of the weights; 0 for none. @default 0 */
  readonly emaDecay?: number;
}

export interface TrainAutoencoderOptions
  extends PhaseOptions,
    ReconstructionTrainingOptions,
    EvaluationOptions<AutoencoderWeights> {}

export interface AutoencoderEstimateOptions extends PhaseOptions, ReconstructionSize {}

/** An autoencoder with what trained it, which a next phase carries on. */
export interface TrainedAutoencoder extends AutoencoderWeights, TrainingState {}

/** Upstream's 1e-8 beside gradients that are sums over the values of an image of 256 x 256, of which these are means. */
const eps = 1e-8 / (3 * 256 * 256);

/**
 * Runs a training to its end, from the latest checkpoint in its folder if there is one. A phase of other weights or
 * margins is another call, with another folder.
 *
 * @param previous as `initAutoencoder` or an earlier phase left it; it is not changed
 * @throws AlignTokError as `runTraining`: `aborted`, `diverged`, `io`; `bad-input` for batches that do not fit
 */
export async function trainAutoencoder(
  previous: TrainedAutoencoder,
  options: TrainAutoencoderOptions,
): Promise<TrainedAutoencoder> {
  return trainReconstruction(preparePhase(previous, options), options);
}

/**
 * What a phase is going to train, and what a step of it will need in memory once its discriminator has started.
 *
 * @throws AlignTokError `bad-input` where autoencoder, options and image size do not fit
 */
export function estimateAutoencoder(
  previous: TrainedAutoencoder,
  options: AutoencoderEstimateOptions,
): TrainingEstimate {
  return estimateReconstruction(preparePhase(previous, options), options);
}

/** How a phase trains an autoencoder. */
function preparePhase(
  previous: TrainedAutoencoder,
  options: PhaseOptions,
): ReconstructionTraining<TrainedAutoencoder> {
  const { config: autoencoder, parameters } = previous;
  const { vision, discriminatorStart = 5000, emaDecay = 0, seed = 0, discriminator: _ } = options;
  const name = vision ? "va-vae" : "autoencoder";
  const { vision: __, discriminator: ___, ...losses } = options;
  const config: AutoencoderStepConfig = {
    ...losses,
    autoencoder,
    ...(vision && { vision: { ...vision, encoder: vision.encoder.config } }),
  };
  const projection =
    vision &&
    (previous.projection ??
      torchLinear(
        createRandom(seed, name, "projection"),
        "linear_proj",
        [vision.encoder.config.width, autoencoder.latent, 1, 1],
        { bias: false },
      )[projectionName]!);
  const stride = autoencoderStride(autoencoder);
  const gridOf = ({ images }: StageBatch) =>
    [images.shape[1]! / stride, images.shape[2]! / stride] as const;

  function noiseFor(batch: StageBatch, { step, start, end }: BatchPart) {
    const [h, w] = gridOf(batch);
    const values = h * w * autoencoder.latent;
    const noise = new Float32Array((end - start) * values);
    for (let row = start; row < end; row++) {
      const own = createRandom(seed, name, "noise", step, row).normals(values);
      noise.set(own, (row - start) * values);
    }
    return ndarray(noise, [end - start, h * w, autoencoder.latent]);
  }

  const grids = new Map<string, Parameters>();
  /** The frozen encoder's weights for the size of a batch. */
  function frozenFor(batch: StageBatch): Parameters {
    const { config: encoder, parameters: own } = vision!.encoder;
    const grid = gridOf(batch);
    const known = grids.get(grid.join());
    if (known) return known;
    const fitted = selectParameters(resamplePositions(encoder, own, grid), namesOf(encoder));
    grids.set(grid.join(), withPrefix(fitted, visionPrefix));
    return grids.get(grid.join())!;
  }

  return {
    name,
    task: vision ? "VA-VAE" : "autoencoder",
    trainable: { ...parameters, ...(projection && { [projectionName]: projection }) },
    ...(previous.discriminator && { carried: previous.discriminator }),
    eps,
    discriminatorStart,
    emaDecay,
    step: (discriminator) =>
      createAutoencoderStep({ ...config, ...(discriminator && { discriminator }) }),
    complete: (trained) => ({
      config: autoencoder,
      parameters: selectParameters(trained, Object.keys(autoencoderShapes(autoencoder))),
      ...(projection && { projection: trained[projectionName]! }),
    }),
    inputs: (batch, part) => ({
      noise: noiseFor(batch, part),
      ...(vision && (batch.features ? { features: batch.features } : { frozen: frozenFor(batch) })),
    }),
  };
}

/** Weights that the tokens depend on: no classifier. */
function namesOf(config: ViTConfig): string[] {
  return Object.keys(vitShapes({ ...config, classes: 0, embedding: "none", embeddingWidth: 0 }));
}
