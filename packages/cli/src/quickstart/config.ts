/**
 * What the quickstart trains: sizes that give recognisable pictures in ten minutes on two processor cores.
 *
 * The paper's stages in their order. In the small: the perceptual term is the encoder's own features where no LPIPS
 * weights are given, and stage 1 has no adversarial term. Images of 128 px and a ViT of patch 16
 * give latents of 8x8x32, as f16d32 in the paper.
 */
import type { DecoderConfig, DiscriminatorConfig, Stage } from "@aligntok/aligntok";
import { type LightningDitConfig, lightningDitDefaults } from "@aligntok/diffusion";

export const imageSize = 128;
export const stride = 16;
/** Most crops of a training photograph; the first is its centre, the others are shifted and half of them mirrored. */
export const mostCrops = 8;
/** Most crops in all: pixels (49 KB) and what is computed once of each (49 KB of features with the embedded encoder) stay in memory. */
export const mostInPool = 4000;
export const mostHeldOut = 500;
/** Most classes that the report shows. */
export const mostShownClasses = 12;
/** Classes need this many training photographs to be generated. */
export const leastPerClass = 20;

/** Works at a quarter of the resolution, where a step costs a fifth, and ends in a pixel shuffle. */
export const decoder: DecoderConfig = {
  latent: 32,
  channels: 64,
  multipliers: [1, 2, 2],
  blocks: 1,
  pixelShuffle: 4,
};

export const discriminator: DiscriminatorConfig = { channels: 16, layers: 3 };

export interface StagePlan {
  readonly stage: Stage;
  readonly steps: number;
  readonly lr: number;
  readonly discriminatorStart: number;
}

export const batchSize = 16;
/** Steps between checkpoints, at each of which PSNR is measured: what a killed run does again at most. */
export const checkpointEvery = (steps: number): number => Math.min(100, Math.ceil(steps / 3));
export const emaDecay = 0.99;
export const perceptualWeight = 0.1;
export const discriminatorWeight = 0.1;
export const semanticWeight = 1;

/** The number of steps of a run of ten nominal minutes. */
const base = { latent: 340, perceptual: 220, refine: 170, diffusion: 320 };

/** Steps are proportional to the nominal minutes, whatever the machine: a result does not depend on its speed. */
export function planStages(minutes: number): readonly StagePlan[] {
  const plan = (stage: Stage, lr: number, judgedFrom: number): StagePlan => {
    const steps = scaled(base[stage], minutes);
    return {
      stage,
      steps,
      lr,
      discriminatorStart: Math.floor(steps * judgedFrom),
    };
  };
  // The discriminator comes late: before there are edges there is nothing to sharpen.
  return [plan("latent", 1.2e-3, 1), plan("perceptual", 7e-4, 0.75), plan("refine", 5e-4, 0.5)];
}

export const diffusionBatchSize = 32;

export interface DiffusionPlan {
  readonly config: LightningDitConfig;
  readonly steps: number;
  readonly lr: number;
  readonly emaDecay: number;
}

export function planDiffusion(minutes: number, classes: number): DiffusionPlan {
  return {
    config: {
      ...lightningDitDefaults,
      inputSize: imageSize / stride,
      inChannels: decoder.latent,
      classes,
      depth: 6,
      width: 256,
      heads: 4,
      patchSize: 1,
    },
    steps: scaled(base.diffusion, minutes),
    lr: 1e-3,
    emaDecay: 0.98,
  };
}

/** Guidance scales to show, the scale that is measured, and the grid of Euler steps. */
export const sampling = { scales: [1, 2, 4], measuredScale: 2, timestepShift: 0.5 } as const;

export interface SamplingPlan {
  /** Points of the time grid: one more than steps. */
  readonly points: number;
  /** Samples of each class that the distance is measured on. */
  readonly perClass: number;
}

/** A run of few minutes also samples less. */
export function planSampling(minutes: number, classes: number): SamplingPlan {
  const part = Math.min(1, minutes / 10);
  const samples = 28 + Math.round(84 * part);
  return {
    points: 11 + Math.round(10 * part),
    perClass: Math.max(1, Math.round(samples / classes)),
  };
}

function scaled(steps: number, minutes: number): number {
  return Math.max(12, Math.round((steps * minutes) / 10));
}
