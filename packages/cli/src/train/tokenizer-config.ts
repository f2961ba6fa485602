/** The configuration of `aligntok train tokenizer`: which images, which encoder, which stages. */
import { decoderSizes, type Stage, stages } from "@aligntok/aligntok";
import { check } from "@aligntok/core";
import { z } from "zod";

const count = z.int().min(1);
const share = z.number().min(0);

const decoder = z
  .union([
    z.enum(Object.keys(decoderSizes) as [keyof typeof decoderSizes]),
    z.strictObject({
      latent: count,
      channels: count,
      multipliers: z.array(count).min(1).max(16),
      blocks: z.int().min(0),
      attention: z.array(z.int().min(0)).exactOptional(),
      groups: count.exactOptional(),
      pixelShuffle: count.exactOptional(),
    }),
  ])
  .describe("a name of decoderSizes, or its fields");

const discriminator = z.strictObject({ channels: count.default(64), layers: count.default(3) });

const adapter = z.strictObject({
  kind: z.enum(["mlp", "linear"]).exactOptional(),
  hidden: count.exactOptional(),
  normalized: z.boolean().exactOptional(),
  variational: z.boolean().exactOptional(),
});

const lora = z.strictObject({
  rank: count.exactOptional(),
  alpha: z.number().positive().exactOptional(),
  targets: z.array(z.string()).min(1).exactOptional(),
});

const lpips = z.strictObject({
  network: z.enum(["vgg", "alex", "squeeze"]).default("vgg"),
  /** Network and heads, in one file or two, see `loadLpips`. */
  weights: z.union([z.string(), z.array(z.string()).min(1)]),
});

/** Options of `trainStage`, whose documentation says what they do and their defaults. */
const stage = z.strictObject({
  steps: count,
  lr: z.number().positive().default(1e-4),
  /** `cosine` falls to a twentieth over the steps. */
  schedule: z.enum(["constant", "cosine"]).default("constant"),
  /** Steps over which the rate rises from zero. */
  warmup: z.int().min(0).default(0),
  weightDecay: share.exactOptional(),
  encoderLrScale: share.exactOptional(),
  layerDecay: z.number().positive().max(1).exactOptional(),
  maxGradNorm: z.number().positive().exactOptional(),
  emaDecay: share.max(1).exactOptional(),
  discriminatorStart: z.int().min(0).exactOptional(),
  perceptualWeight: share.exactOptional(),
  discriminatorWeight: share.exactOptional(),
  adversarialLoss: z.enum(["hinge", "non-saturating"]).exactOptional(),
  semanticWeight: share.exactOptional(),
  semanticDistance: z.enum(["l2", "cosine"]).exactOptional(),
  semanticTarget: z.enum(["latent", "features"]).exactOptional(),
  lora: lora.exactOptional(),
  klWeight: share.exactOptional(),
  recompute: z.boolean().exactOptional(),
  onNaN: z.enum(["stop", "skip"]).exactOptional(),
  maxLoss: z.number().positive().exactOptional(),
});

const optionalStage = z.union([stage, z.literal(false)]).default(false);

export const tokenizerConfigSchema = z.strictObject({
  data: z.strictObject({
    /** Folder, glob, archives; `samples`: the sample photographs. */
    images: z.union([z.string(), z.array(z.string()).min(1)]),
    /** Images that nothing is trained on: others, or so many of these, chosen by the seed. */
    heldOut: z.union([z.string(), count]).default(64),
    /** Side of the square crops in pixels. */
    size: count.default(256),
    crop: z.enum(["random", "center", "adm"]).default("random"),
    flip: z.boolean().default(false),
  }),
  /** Folder, file or registry name; `embedded`: the encoder of @aligntok/samples. */
  encoder: z.string().default("embedded"),
  /** What a lone file holds, see `loadEncoder`. */
  model: z.string().exactOptional(),
  decoder: decoder.default("f16d32"),
  adapter: adapter.exactOptional(),
  /** `features`: distance in the encoder's own features, which needs no other weights. */
  perceptual: z.union([z.enum(["features", "none"]), lpips]).default("features"),
  discriminator: z.union([discriminator, z.literal(false)]).default({ channels: 64, layers: 3 }),
  batchSize: count.default(256),
  /** Images that go through the networks at once; the rest of a batch follows. */
  microBatch: count.exactOptional(),
  /** In their order; `false` leaves one out. */
  stages: z.strictObject({
    latent: optionalStage,
    perceptual: optionalStage,
    refine: optionalStage,
  }),
  checkpointEvery: count.default(1000),
  logEvery: count.default(10),
});

export type TokenizerConfigFile = z.output<typeof tokenizerConfigSchema>;

export interface StageSettings extends z.output<typeof stage> {
  readonly stage: Stage;
}

/** The stages that a configuration has, in their order. */
export function stagesOf({ stages: settings }: TokenizerConfigFile): StageSettings[] {
  const given = stages.flatMap((stage) => {
    const own = settings[stage];
    return own ? [{ stage, ...own }] : [];
  });
  check(given.length > 0, "stages: expected at least one of latent, perceptual, refine, got none");
  return given;
}
