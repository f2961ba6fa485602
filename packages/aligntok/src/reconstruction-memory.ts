/** What a training step needs in memory, told from its graph before it runs. */
import {
  byteLength,
  createRandom,
  heightAndWidth,
  type Parameters,
  type PixelSize,
  zeros,
} from "@aligntok/core";
import { estimateMemory, specOf } from "@aligntok/jit";
import { type DiscriminatorConfig, initDiscriminator } from "./discriminator.ts";
import { toPlanes } from "./images.ts";
import type { ReconstructionConfig } from "./reconstruction-step.ts";
import type { ReconstructionTraining } from "./reconstruction-training.ts";

export interface ReconstructionSize {
  /** Images that go through the networks at once. */
  readonly batchSize: number;
  readonly imageSize: PixelSize;
}

/** Bytes, of which an engine needs somewhat more: for the buffers of convolutions, and rounding. */
export interface ReconstructionMemory {
  /** All weights, and what training keeps of each: gradient, two moments, moving average. */
  readonly weights: number;
  /** Values that are alive at once within a step. */
  readonly activations: number;
}

/** What a training is going to do. */
export interface TrainingEstimate {
  /** Numbers of trained weights by part: `encoder`, `adapter`, `decoder`, `linear_proj`. */
  readonly trained: Readonly<Record<string, number>>;
  readonly frozen: Readonly<Record<string, number>>;
  readonly memory: ReconstructionMemory;
}

export function estimateReconstruction(
  training: Omit<ReconstructionTraining<unknown>, "complete">,
  options: ReconstructionSize &
    Pick<ReconstructionConfig, "perceptual"> & {
      readonly discriminator?: DiscriminatorConfig | false;
      /** The weights that are not trained. @default those that a step reads */
      readonly frozen?: Parameters;
    },
): TrainingEstimate {
  const { batchSize, imageSize, perceptual, discriminator = {} } = options;
  const { trainable, emaDecay, step, inputs } = training;
  const discriminatorWeights = discriminator
    ? initDiscriminator(discriminator, createRandom(0, "estimate"))
    : undefined;
  const images = zeros([batchSize, ...heightAndWidth(imageSize), 3], "uint8");
  const constant = inputs({ images }, { step: 0, start: 0, end: batchSize });
  const given = {
    trainable,
    ...constant,
    ...(discriminatorWeights && { discriminator: discriminatorWeights }),
    ...(perceptual && { perceptual: perceptual.parameters }),
    images: toPlanes(images),
  };
  const { intermediate } = estimateMemory(
    (tensors) => step(discriminator || undefined)(tensors as never),
    specOf(given),
  );
  const copies = emaDecay > 0 ? 5 : 4;
  const still = [constant.frozen, constant.snapshot, perceptual?.parameters];
  const { frozen = constant.frozen ?? {} } = options;
  return {
    trained: countByPart(trainable),
    frozen: countByPart(frozen),
    memory: {
      weights:
        copies * bytesOf(trainable) +
        4 * bytesOf(discriminatorWeights) +
        still.reduce((sum, parameters) => sum + bytesOf(parameters), 0),
      activations: intermediate,
    },
  };
}

function countByPart(parameters: Parameters): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [name, { data }] of Object.entries(parameters)) {
    const [prefix = ""] = name.split(".");
    const part = parts[prefix] ?? prefix;
    counts[part] = (counts[part] ?? 0) + data.length;
  }
  return counts;
}

/** Where weights belong whose names do not begin with their part. */
const parts: Readonly<Record<string, string>> = {
  quant_conv: "encoder",
  post_quant_conv: "decoder",
};

function bytesOf(parameters: Parameters = {}): number {
  return Object.values(parameters).reduce((sum, array) => sum + byteLength(array), 0);
}
