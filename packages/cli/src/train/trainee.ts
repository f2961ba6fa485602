/** A tokenizer between two stages: what a command that trains one needs, whatever its kind. */
import {
  createTokenizer,
  estimateStage,
  type ReconstructionTrainingOptions,
  saveTokenizer,
  type TrainedStage,
  type TrainingEstimate,
  trainStage,
} from "@aligntok/aligntok";
import {
  createAutoencoder,
  estimateAutoencoder,
  saveAutoencoder,
  type TrainAutoencoderOptions,
  type TrainedAutoencoder,
  trainAutoencoder,
} from "@aligntok/aligntok/vae";
import type { LatentStats, PixelSize, Tokenizer } from "@aligntok/core";
import type { EngineOptions } from "@aligntok/jit";
import type { Metrics } from "@aligntok/train";
import type { AlignedStage, AutoencoderStage } from "./tokenizer-config.ts";

/** Of every stage. */
type Run = Omit<ReconstructionTrainingOptions, "steps">;

export interface Trainee {
  /** What a stage is going to do to it; stages are counted from 0. */
  estimate(
    stage: number,
    options: Pick<Run, "perceptual" | "discriminator"> & {
      readonly batchSize: number;
      readonly imageSize: PixelSize;
    },
  ): TrainingEstimate;
  /** @param evaluate measures it at each checkpoint */
  train(
    stage: number,
    options: Run,
    evaluate: (tokenizer: Trainee, step: number) => Promise<Metrics>,
  ): Promise<Trainee>;
  open(engine: EngineOptions): Tokenizer;
  save(folder: string, stats?: LatentStats): Promise<void>;
}

export function createAlignedTrainee(
  weights: TrainedStage,
  stages: readonly AlignedStage[],
): Trainee {
  return {
    estimate: (stage, options) => estimateStage(weights, { ...stages[stage]!.options, ...options }),
    async train(stage, run, evaluate) {
      const { steps, options } = stages[stage]!;
      const trained = await trainStage(weights, {
        ...options,
        ...run,
        steps,
        evaluate: (tokenizer, step) => evaluate(createAlignedTrainee(tokenizer, stages), step),
      });
      return createAlignedTrainee(trained, stages);
    },
    open: (engine) => createTokenizer(weights, engine),
    save: (folder, stats) => saveTokenizer(folder, { ...weights, ...(stats && { stats }) }),
  };
}

/** @param vision the encoder that a VA-VAE follows */
export function createAutoencoderTrainee(
  weights: TrainedAutoencoder,
  stages: readonly AutoencoderStage[],
  vision?: NonNullable<TrainAutoencoderOptions["vision"]>["encoder"],
): Trainee {
  const optionsOf = (stage: number) => {
    const { visionWeight: weight, cosineMargin, distanceMargin, ...own } = stages[stage]!.options;
    const given = { weight, cosineMargin, distanceMargin };
    const defined = Object.entries(given).filter(([, value]) => value !== undefined);
    return {
      ...own,
      ...(vision && { vision: { encoder: vision, ...Object.fromEntries(defined) } }),
    };
  };
  return {
    estimate: (stage, options) => estimateAutoencoder(weights, { ...optionsOf(stage), ...options }),
    async train(stage, run, evaluate) {
      const trained = await trainAutoencoder(weights, {
        ...optionsOf(stage),
        ...run,
        steps: stages[stage]!.steps,
        evaluate: (tokenizer, step) =>
          evaluate(createAutoencoderTrainee(tokenizer, stages, vision), step),
      });
      return createAutoencoderTrainee(trained, stages, vision);
    },
    open: (engine) => createAutoencoder(weights, engine),
    save: (folder, stats) => saveAutoencoder(folder, { ...weights, ...(stats && { stats }) }),
  };
}
