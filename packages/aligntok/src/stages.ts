/**
 * The three stages of AlignTok, each as one pure function from weights and images to losses and gradients.
 *
 * Paper: AlignTok, section 3. `latent` (latent alignment) trains adapter and decoder on a frozen encoder;
 * `perceptual` trains all three and holds the latents near those of a frozen snapshot; `refine` trains
 * the decoder alone. Each has a discriminator beside it once `discriminator` is configured.
 *
 * N images, H x W pixels, T tokens, W width of the encoder, d channels of the latent.
 */
import { check } from "@aligntok/core";
import type { TensorParameters } from "@aligntok/nn";
import { reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";
import { applyAdapter, applyVariationalAdapter } from "./adapter.ts";
import { type DecoderConfig, decoderParts, decoderStride } from "./decoder.ts";
import { applyEncoder } from "./encoder.ts";
import { applyLora, type LoraConfig } from "./lora.ts";
import { type SemanticDistance, semanticLoss } from "./losses.ts";
import { klLoss, samplePosterior } from "./posterior.ts";
import {
  createReconstructionStep,
  type LatentTerm,
  type ReconstructionConfig,
  type StageInputs,
  type StageOutputs,
} from "./reconstruction-step.ts";
import { adapterOf, type TokenizerConfig } from "./tokenizer-config.ts";

export type Stage = "latent" | "perceptual" | "refine";

/** The stages in their order. */
export const stages: readonly Stage[] = ["latent", "perceptual", "refine"];

/** What each stage trains besides the decoder. */
const trainedBesides: Readonly<Record<Stage, readonly string[]>> = {
  latent: ["adapter"],
  perceptual: ["encoder", "adapter"],
  refine: [],
};

/** Prefixes of the weights that a stage trains; all others are frozen. */
export function trainableParts(stage: Stage, decoder: DecoderConfig): readonly string[] {
  return [...trainedBesides[stage], ...decoderParts(decoder)];
}

/** What the semantic-preservation loss compares: the adapter's output, or the encoder's before it. */
export type SemanticTarget = "latent" | "features";

export interface StageConfig extends ReconstructionConfig {
  readonly stage: Stage;
  readonly tokenizer: TokenizerConfig;
  /** Weight of the semantic-preservation loss, stage `perceptual`; 0 leaves it out. @default 1, the paper's on ImageNet */
  readonly semanticWeight?: number;
  /** @default "l2" */
  readonly semanticDistance?: SemanticDistance;
  /** @default "latent" */
  readonly semanticTarget?: SemanticTarget;
  /** Trains low-rank factors in place of the encoder's own weights, stage `perceptual`. @default none */
  readonly lora?: LoraConfig;
  /**
   * Weight of the KL term of a variational adapter (`klLoss` of `/vae`), in stages `latent` and `perceptual`, where latents
   * are sampled; `refine` takes the means. @default 1e-6, LDM's
   */
  readonly klWeight?: number;
}

/** The function to compile for a stage. */
export function createStageStep(config: StageConfig): (inputs: StageInputs) => StageOutputs {
  const step = createReconstructionStep(
    {
      decoder: config.tokenizer.decoder,
      encode: (params, inputs) => encodeStage(config, params, inputs),
    },
    config,
  );
  return (inputs) => {
    checkInputs(config, inputs);
    return step(inputs);
  };
}

/** Whether a stage draws its latents from the adapter's distribution. */
export function samplesLatents({ stage, tokenizer }: StageConfig): boolean {
  return stage !== "refine" && tokenizer.adapter?.variational === true;
}

/** Whether a stage holds on to the snapshot. */
export function preservesSemantics({ stage, semanticWeight = 1 }: StageConfig): boolean {
  return stage === "perceptual" && semanticWeight !== 0;
}

function encodeStage(config: StageConfig, given: TensorParameters, inputs: StageInputs) {
  const { stage, tokenizer, klWeight = 1e-6, semanticWeight = 1 } = config;
  const { images } = inputs;
  if (stage === "refine" && inputs.latents)
    return { latents: toMap(config, inputs.latents, images) };
  const params = config.lora ? applyLora(config.lora, given) : given;
  const adapter = adapterOf(tokenizer);
  const features =
    stage === "latent" && inputs.features ? inputs.features : featuresOf(config, params, images);

  const posterior = samplesLatents(config)
    ? applyVariationalAdapter(adapter, params, features)
    : undefined;
  const mean = posterior?.mean ?? applyAdapter(adapter, params, features); // (N, T, d)
  const terms: { semantic?: LatentTerm; kl?: LatentTerm } = {};
  if (preservesSemantics(config)) {
    const loss = semanticTerm(config, { latents: mean, features, inputs });
    terms.semantic = { loss, weight: semanticWeight };
  }
  if (!posterior) return { latents: toMap(config, mean, images), terms };

  const values = images.shape.slice(1).reduce((a, b) => a * b); // 3 H W
  terms.kl = { loss: klLoss(posterior, values), weight: klWeight };
  const sampled = samplePosterior(posterior, inputs.noise!);
  return { latents: toMap(config, sampled, images), terms };
}

/** Patch tokens `(N, T, W)`. */
function featuresOf(
  { tokenizer, recompute = false }: StageConfig,
  params: TensorParameters,
  images: Tensor,
): Tensor {
  const { encoder, decoder, interpolation = "bilinear" } = tokenizer;
  const stride = decoderStride(decoder);
  return applyEncoder(encoder, params, images, { stride, interpolation, recompute });
}

/** `(N, T, d)` to `(N, d, h, w)`. */
function toMap({ tokenizer }: StageConfig, latents: Tensor, images: Tensor): Tensor {
  const [n, , d] = latents.shape as [number, number, number];
  const stride = decoderStride(tokenizer.decoder);
  const [height, width] = images.shape.slice(2) as [number, number];
  return reshape(transpose(latents, [0, 2, 1]), [n, d, height / stride, width / stride]);
}

/** The distance to what the snapshot makes of the same images, which no gradient reaches. */
function semanticTerm(
  config: StageConfig,
  {
    latents,
    features,
    inputs,
  }: { readonly latents: Tensor; readonly features: Tensor; readonly inputs: StageInputs },
): Tensor {
  const { tokenizer, semanticDistance: distance = "l2", semanticTarget = "latent" } = config;
  const { snapshot, images } = inputs;
  if (semanticTarget === "features") {
    const kept = inputs.features ?? featuresOf(config, snapshot!, images);
    return semanticLoss(features, kept, { distance });
  }
  const kept =
    inputs.latents ??
    applyAdapter(adapterOf(tokenizer), snapshot!, featuresOf(config, snapshot!, images));
  return semanticLoss(latents, kept, { distance });
}

/** What cannot be seen from the types: which inputs a stage needs. */
function checkInputs(config: StageConfig, inputs: StageInputs): void {
  const { stage, discriminator, perceptual, semanticTarget = "latent" } = config;
  const standIn = semanticTarget === "latent" ? "latents" : "features";
  const missing = [
    discriminator && !inputs.discriminator && "discriminator",
    perceptual && !inputs.perceptual && "perceptual",
    samplesLatents(config) && !inputs.noise && "noise",
    stage === "latent" && !inputs.features && !inputs.frozen && "features or frozen",
    preservesSemantics(config) && !inputs[standIn] && !inputs.snapshot && `${standIn} or snapshot`,
    stage === "refine" && !inputs.latents && !inputs.frozen && "latents or frozen",
  ].filter(Boolean);
  check(
    missing.length === 0,
    () =>
      `stage ${stage}: expected the inputs ${missing.join(", ")}, got ${Object.keys(inputs).join(", ")}. give those as well`,
  );
}
