/** The configuration of `aligntok train tokenizer`: which images, which encoder, which stages. */
import { decoderSizes, type Stage, stages } from "@aligntok/aligntok";
import { check } from "@aligntok/core";
import { z } from "zod";

const count = z.int().min(1);
const share = z.number().min(0);
const rgb = z.tuple([z.number(), z.number(), z.number()]);

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
      postQuantConv: z.boolean().exactOptional(),
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

/** Of every stage; the documentation of `trainStage` says what the options do, and their defaults. */
const anyStage = {
  steps: count,
  lr: z.number().positive().default(1e-4),
  /** `cosine` falls to a twentieth over the steps. */
  schedule: z.enum(["constant", "cosine"]).default("constant"),
  /** Steps over which the rate rises from zero. */
  warmup: z.int().min(0).default(0),
  weightDecay: share.exactOptional(),
  maxGradNorm: z.number().positive().exactOptional(),
  emaDecay: share.lt(1).exactOptional(),
  discriminatorStart: z.int().min(0).exactOptional(),
  perceptualWeight: share.exactOptional(),
  discriminatorWeight: share.exactOptional(),
  adversarialLoss: z.enum(["hinge", "non-saturating"]).exactOptional(),
  recompute: z.boolean().exactOptional(),
  onNaN: z.enum(["stop", "skip"]).exactOptional(),
  maxLoss: z.number().positive().exactOptional(),
};

/** Where the latents are trained. */
const latents = { klWeight: share.exactOptional() };

/** A stage with keys of its own besides those of every one, or `false` for none. */
function stage<Keys extends z.core.$ZodLooseShape>(keys: Keys) {
  const settings = z.strictObject({ ...anyStage, ...keys }).superRefine((own, context) => {
    const { steps, warmup } = own as { steps: number; warmup: number };
    if (warmup < steps) return;
    const message = `expected fewer than the ${steps} steps, got ${warmup}`;
    context.addIssue({ code: "custom", path: ["warmup"], message });
  });
  return z.union([settings, z.literal(false)]);
}

const alignedStage = {
  latent: stage(latents),
  perceptual: stage({
    ...latents,
    encoderLrScale: share.exactOptional(),
    layerDecay: z.number().positive().max(1).exactOptional(),
    semanticWeight: share.exactOptional(),
    semanticDistance: z.enum(["l2", "cosine"]).exactOptional(),
    semanticTarget: z.enum(["latent", "features"]).exactOptional(),
    lora: lora.exactOptional(),
  }),
  refine: stage({}),
};
const autoencoderStage = stage(latents);
const followingStage = stage({
  ...latents,
  visionWeight: share.exactOptional(),
  cosineMargin: share.exactOptional(),
  distanceMargin: share.exactOptional(),
});

/** Of every kind. */
const anyKind = {
  data: z.strictObject({
    /** Folder, glob, archives; `samples`: the sample photographs. */
    images: z.union([z.string(), z.array(z.string()).min(1)]),
    /** Images that nothing is trained on: others, or so many of these, chosen by the seed; 64. `samples` have their own. */
    heldOut: z.union([z.string(), z.int().min(2)]).exactOptional(),
    /** Of the crops in pixels: the side of squares, or height and width. */
    size: z.union([count, z.tuple([count, count])]).default(256),
    crop: z.enum(["random", "center", "adm"]).default("random"),
    flip: z.boolean().default(false),
    /** What an image that cannot be read means: the end, or that another one stands in for it. */
    onError: z.enum(["raise", "replace"]).default("raise"),
  }),
  /**
   * A tokenizer that was trained before, to go on with, in place of a new one: `tokenizer` in the folder of a run's stage,
   * or an autoencoder's weights. `encoder`, `decoder` and `adapter` are to be those that it has.
   */
  from: z.string().exactOptional(),
  /**
   * Folder, file or registry name; `embedded`: the encoder of @aligntok/samples. It becomes the tokenizer's, or a VA-VAE
   * follows it; distances between images are measured in its features.
   */
  encoder: z.string().default("embedded"),
  /** What a lone file holds, see `loadEncoder`. */
  model: z.string().exactOptional(),
  /** How its position embeddings are fitted to the grid of the images, in place of its own way. */
  positionResampling: z.enum(["timm", "dinov2", "huggingface"]).exactOptional(),
  /** Of its images, in place of its own: VA-VAE gives DINOv2 images in [-1, 1], which is 0.5 and 0.5. */
  imageMean: rgb.exactOptional(),
  imageStd: rgb.exactOptional(),
  decoder: decoder.default("f16d32"),
  /** `features`: distance in the encoder's own features, which needs no other weights. */
  perceptual: z.union([z.enum(["features", "none"]), lpips]).default("features"),
  discriminator: z.union([discriminator, z.literal(false)]).default({ channels: 64, layers: 3 }),
  batchSize: count.default(256),
  /** Images that go through the networks at once; the rest of a batch follows. */
  microBatch: count.exactOptional(),
  checkpointEvery: count.default(1000),
  logEvery: count.default(10),
};

const alignedConfig = z.strictObject({
  kind: z.literal("aligntok").default("aligntok"),
  ...anyKind,
  adapter: adapter.exactOptional(),
  /** How images are resized for an encoder whose patch is not the decoder's stride. */
  interpolation: z.enum(["bilinear", "bicubic"]).exactOptional(),
  /** In their order; `false` leaves one out. */
  stages: z.strictObject({
    latent: alignedStage.latent.default(false),
    perceptual: alignedStage.perceptual.default(false),
    refine: alignedStage.refine.default(false),
  }),
});

/** LDM's autoencoder, whose encoder mirrors the decoder. */
const vaeConfig = z.strictObject({
  kind: z.literal("vae"),
  ...anyKind,
  /** By a name of its own each, in their order; `false` leaves one out that the base has. */
  stages: z.record(z.string(), autoencoderStage),
});

/** The autoencoder that follows a frozen encoder. */
const vaVaeConfig = z.strictObject({
  kind: z.literal("va-vae"),
  ...anyKind,
  stages: z.record(z.string(), followingStage),
});

export const tokenizerConfigSchema = z
  .discriminatedUnion("kind", [alignedConfig, vaeConfig, vaVaeConfig])
  .superRefine(({ data }, context) => {
    if (data.images !== "samples" || data.heldOut === undefined) return;
    const message = "expected none beside the sample photographs, which have their own";
    context.addIssue({ code: "custom", path: ["data", "heldOut"], message });
  });

export type TokenizerConfigFile = z.output<typeof tokenizerConfigSchema>;
export type AlignedConfigFile = z.output<typeof alignedConfig>;
export type AutoencoderConfigFile = z.output<typeof vaeConfig> | z.output<typeof vaVaeConfig>;

type Settings<Schema extends z.ZodType> = Exclude<z.output<Schema>, false>;
type Rate = Pick<Settings<typeof autoencoderStage>, "lr" | "schedule" | "warmup">;

/** One stage of a configuration: what it is called, its length and rate, and the options of its kind. */
interface TrainingStage<Options> {
  readonly name: string;
  readonly steps: number;
  readonly rate: Rate;
  readonly options: Options;
}

type OptionsOf<Schema extends z.ZodType> = Omit<Settings<Schema>, "steps" | keyof Rate>;

export type AlignedStage = TrainingStage<
  OptionsOf<typeof alignedStage.perceptual> & { readonly stage: Stage }
>;
export type AutoencoderStage = TrainingStage<OptionsOf<typeof followingStage>>;

/** The stages that a configuration of AlignTok has, in their order. */
export function alignedStages({ stages: settings }: AlignedConfigFile): AlignedStage[] {
  return listStages(
    stages.map((stage) => {
      const own = settings[stage];
      return [stage, own && { ...own, stage }];
    }),
  );
}

export function autoencoderStages({ stages }: AutoencoderConfigFile): AutoencoderStage[] {
  return listStages(Object.entries(stages));
}

export function stagesOf(
  config: TokenizerConfigFile,
): readonly (AlignedStage | AutoencoderStage)[] {
  return config.kind === "aligntok" ? alignedStages(config) : autoencoderStages(config);
}

function listStages<Settings extends Rate & { readonly steps: number }>(
  given: readonly (readonly [string, Settings | false])[],
) {
  const listed = given.flatMap(([name, own]) => {
    if (!own) return [];
    const { steps, lr, schedule, warmup, ...options } = own;
    return [{ name, steps, rate: { lr, schedule, warmup }, options }];
  });
  const names = given.map(([name]) => name).join(", ");
  check(
    listed.length > 0,
    () => `stages: expected at least one${names && ` of ${names}`}, got none. give one its steps`,
  );
  return listed;
}
