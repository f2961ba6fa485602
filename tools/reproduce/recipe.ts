/** Sizes and budgets, equal for every row: chosen so that three seeds take a few hours on two processor cores. */
import { type DecoderConfig, decoderSizes, type Stage } from "@aligntok/aligntok";
import type { AutoencoderConfig } from "@aligntok/aligntok/vae";
import { type LightningDitConfig, lightningDitDefaults } from "@aligntok/diffusion";

export const imageSize = 128;
/** Side of the photographs that random crops are taken of. */
export const pooledSize = 144;
export const heldOut = 200;
export const batchSize = 8;

export const decoder: DecoderConfig = decoderSizes.tiny;
/** The same decoder, and an encoder that mirrors it. */
export const autoencoder: AutoencoderConfig = decoderSizes.tiny;

export const steps: Readonly<Record<Stage, number>> = { latent: 200, perceptual: 160, refine: 80 };
/** Steps of an autoencoder: those of all stages together. */
export const autoencoderSteps = steps.latent + steps.perceptual + steps.refine;
export const rates: Readonly<Record<Stage, number>> = {
  latent: 1.2e-3,
  perceptual: 7e-4,
  refine: 5e-4,
};
export const autoencoderRate = 1e-3;

/** Of every training; the discriminator comes in the middle of the first one and stays. */
export const losses = {
  perceptualWeight: 0.1,
  discriminator: { channels: 16, layers: 3 },
  discriminatorWeight: 0.1,
} as const;
export const discriminatorStart = { first: 0.5, later: 0 } as const;
export const emaDecay = 0.99;

export const diffusion = {
  config: {
    ...lightningDitDefaults,
    inputSize: imageSize / 16,
    inChannels: decoder.latent,
    depth: 6,
    width: 192,
    heads: 3,
    patchSize: 1,
  } satisfies Omit<LightningDitConfig, "classes">,
  steps: 250,
  batchSize: 16,
  lr: 1e-3,
  emaDecay: 0.98,
} as const;

export const sampling = { count: 200, points: 16, timestepShift: 0.5, cfgScale: 2 } as const;
