/** What a step of a stage needs in memory, told before it runs. */
import {
  createStageStep,
  initDiscriminator,
  type StageConfig,
  type TokenizerWeights,
  trainableParts,
} from "@aligntok/aligntok";
import { createRandom, type NdArray } from "@aligntok/core";
import { estimateMemory, spec, specOf } from "@aligntok/jit";
import { selectParameters, splitParameters } from "@aligntok/train";

export interface StageMemoryOptions {
  /** The stage as it is at its end, with its discriminator. */
  readonly config: Omit<StageConfig, "tokenizer">;
  readonly batchSize: number;
  /** Side of the images in pixels. */
  readonly size: number;
  /** Whether a moving average is kept. */
  readonly ema: boolean;
}

/** Bytes: weights with what their training keeps of them, and the values that are alive at once within a step. */
export interface StageMemory {
  readonly weights: number;
  readonly activations: number;
}

export function estimateStageMemory(
  { config: tokenizer, parameters }: TokenizerWeights,
  { config, batchSize, size, ema }: StageMemoryOptions,
): StageMemory {
  const { stage, discriminator, perceptual } = config;
  const { trainable, frozen } = splitParameters(parameters, trainableParts[stage]);
  const judge = discriminator && initDiscriminator(discriminator, createRandom(0, "memory"));
  const inputs = {
    trainable: specOf(trainable),
    ...(stage === "perceptual"
      ? { snapshot: specOf(selectParameters(parameters, ["encoder", "adapter"])) }
      : { frozen: specOf(frozen) }),
    ...(judge && { discriminator: specOf(judge) }),
    ...(perceptual && { perceptual: specOf(perceptual.parameters) }),
    images: spec([batchSize, 3, size, size]),
  };
  const { intermediate } = estimateMemory(
    (given) => createStageStep({ ...config, tokenizer })(given as never),
    inputs,
  );
  // weights, gradients, two moments of Adam, and the moving average
  const trained = bytesOf(trainable) * (ema ? 5 : 4) + (judge ? bytesOf(judge) * 4 : 0);
  const still = bytesOf(parameters) + (perceptual ? bytesOf(perceptual.parameters) : 0);
  return { weights: trained + still, activations: intermediate };
}

function bytesOf(parameters: Readonly<Record<string, NdArray>>): number {
  return Object.values(parameters).reduce((sum, { data }) => sum + data.byteLength, 0);
}
