/** Trains one stage: batches in, weights out, with checkpoints that resume bit for bit. */
import { check, createRandom, type NdArray, ndarray, type Parameters } from "@aligntok/core";
import { splitParameters } from "@aligntok/train";
import { decoderStride } from "./decoder.ts";
import { type EncoderRates, encoderGroups } from "./encoder-rates.ts";
import { initLora, mergeLora } from "./lora.ts";
import {
  estimateReconstruction,
  type ReconstructionSize,
  type TrainingEstimate,
} from "./reconstruction-memory.ts";
import {
  type BatchPart,
  type EvaluationOptions,
  type ReconstructionTraining,
  type ReconstructionTrainingOptions,
  type StageBatch,
  trainReconstruction,
} from "./reconstruction-training.ts";
import {
  createStageStep,
  preservesSemantics,
  type StageConfig,
  samplesLatents,
  trainableParts,
} from "./stages.ts";
import type { TokenizerWeights } from "./tokenizer.ts";
import type { TrainingState } from "./training-state.ts";

/** What a stage does, apart from where and for how long. */
interface StageOptions
  extends Omit<StageConfig, "tokenizer" | "discriminator">,
    EncoderRates,
    Pick<
      ReconstructionTrainingOptions,
      "seed" | "discriminator" | "discriminatorStart" | "emaDecay"
    > {
  /**
   * Steps before the discriminator starts; until then another, cheaper graph runs.
   * @default 5000 in stage `latent`, else 0, as VA-VAE's phases
   */
  readonly discriminatorStart?: number;
  /** Decay of the moving average of the weights; 0 for none. @default 0.9999 in stage `perceptual`, else 0 */
  readonly emaDecay?: number;
}

export interface TrainStageOptions
  extends StageOptions,
    ReconstructionTrainingOptions,
    EvaluationOptions<TokenizerWeights> {}

export interface StageEstimateOptions extends StageOptions, ReconstructionSize {}

/** A tokenizer with the discriminator that judged it, if any, which the next stage carries on. */
export interface TrainedStage extends TokenizerWeights, Pick<TrainingState, "discriminator"> {}

/**
 * Runs a stage to its end, from the latest checkpoint in its folder if there is one.
 *
 * @param previous the tokenizer as the stage before left it, or `initTokenizer`; it is not changed
 * @returns the weights after the last step: their moving average where one was kept, low-rank factors merged
 * @throws AlignTokError as `runTraining`: `aborted`, `diverged`, `io`; `bad-input` for batches that do not fit
 */
export async function trainStage(
  previous: TrainedStage,
  options: TrainStageOptions,
): Promise<TrainedStage> {
  return trainReconstruction(prepareStage(previous, options).training, options);
}

/**
 * What a stage is going to train, and what a step of it will need in memory once its discriminator has started.
 *
 * @throws AlignTokError `bad-input` where tokenizer, options and image size do not fit
 */
export function estimateStage(
  previous: TokenizerWeights,
  options: StageEstimateOptions,
): TrainingEstimate {
  const { training, frozen } = prepareStage(previous, options);
  return estimateReconstruction(training, { ...options, frozen });
}

/** How a stage trains a tokenizer, and what of it stays frozen. */
function prepareStage(
  previous: TrainedStage,
  options: StageOptions,
): {
  readonly training: ReconstructionTraining<TokenizerWeights>;
  readonly frozen: Parameters;
} {
  const { stage, seed = 0, discriminator: _, ...losses } = options;
  const { discriminatorStart = stage === "latent" ? 5000 : 0 } = options;
  const { emaDecay = stage === "perceptual" ? 0.9999 : 0 } = options;
  const { encoder, decoder } = previous.config;
  const parts = trainableParts(stage, decoder);
  const lora = stage === "perceptual" ? options.lora : undefined;
  const factors = lora
    ? initLora(lora, previous.parameters, createRandom(seed, stage, "lora"))
    : undefined;
  const { trainable, frozen } = splitParameters(
    { ...previous.parameters, ...factors },
    factors ? [...Object.keys(factors), ...parts.filter((part) => part !== "encoder")] : parts,
  );
  const snapshot = splitParameters(previous.parameters, ["encoder", "adapter"]).trainable;
  const config: Omit<StageConfig, "discriminator"> = {
    ...losses,
    stage,
    tokenizer: previous.config,
  };

  /** Weights that a batch does not stand in for. */
  function constantsFor({ features, latents }: StageBatch) {
    const { semanticTarget = "latent" } = options;
    const kept = semanticTarget === "latent" ? latents : features;
    const needsFrozen =
      (stage === "latent" && !features) || (stage === "refine" && !latents) || lora !== undefined;
    return {
      ...(needsFrozen && { frozen }),
      ...(preservesSemantics(config) && !kept && { snapshot }),
    };
  }

  function noiseFor({ images }: StageBatch, { step, start, end }: BatchPart) {
    const { latent } = decoder;
    const stride = decoderStride(decoder);
    const tokens = (images.shape[1]! / stride) * (images.shape[2]! / stride);
    const image = (row: number) =>
      createRandom(seed, stage, "noise", step, row).normals(tokens * latent);
    const noise = new Float32Array((end - start) * tokens * latent);
    for (let row = start; row < end; row++) {
      noise.set(image(row), (row - start) * tokens * latent);
    }
    return ndarray(noise, [end - start, tokens, latent]);
  }

  const training: ReconstructionTraining<TokenizerWeights> = {
    name: stage,
    task: `stage ${stage}`,
    trainable,
    ...(previous.discriminator && { carried: previous.discriminator }),
    groups: encoderGroups(Object.keys(trainable), encoder.depth, options),
    discriminatorStart,
    emaDecay,
    step: (discriminator) =>
      createStageStep({ ...config, ...(discriminator && { discriminator }) }),
    complete,
    inputs: (batch, part) => ({
      ...constantsFor(batch),
      ...(batch.features && stage !== "refine" && { features: batch.features }),
      ...(batch.latents && stage !== "latent" && { latents: toTokens(batch.latents) }),
      ...(samplesLatents(config) && { noise: noiseFor(batch, part) }),
    }),
  };

  function complete(trained: Parameters): TokenizerWeights {
    const all = { ...frozen, ...trained };
    const merged = lora ? mergeLora(lora, all) : all;
    return {
      config: previous.config,
      // in the order of the previous weights, so that files list them alike
      parameters: Object.fromEntries(
        Object.keys(previous.parameters).map((name) => [name, merged[name]!]),
      ),
    };
  }
  return { training, frozen };
}

/** `(N, h, w, d)` to `(N, T, d)`, the same memory. */
function toTokens(latents: NdArray<"float32">): NdArray<"float32"> {
  const [n = 0, h = 0, w = 0, d = 0] = latents.shape;
  check(
    latents.shape.length === 4,
    () => `batch latents: expected (N, h, w, d), got [${latents.shape}]. give them as encode does`,
  );
  return { ...latents, shape: [n, h * w, d] };
}
