/**
 * The three stages of AlignTok, each as one pure function from weights and images to losses and gradients.
 *
 * Paper: AlignTok, section 3. `latent` (latent alignment) trains adapter and decoder on a frozen encoder;
 * `perceptual` trains all three and holds the latents near those of a frozen snapshot; `refine` trains
 * the decoder alone. Each has a discriminator beside it once `discriminator` is configured.
 *
 * Difference from upstream's VQGAN-style loop: one pass gives both gradients, so the discriminator
 * judges the very images that the decoder was judged by, rather than those after the decoder's update.
 *
 * N images, H x W pixels, T tokens, W width of the encoder, d channels of the latent.
 */
import { check } from "@aligntok/core";
import type { ViTConfig } from "@aligntok/encoders";
import { stopGradient, valueAndGrad } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import { add, mul, reshape, scalar, sum, type Tensor, transpose } from "@tensorflow/tfjs-core";
import { applyAdapter } from "./adapter.ts";
import {
  applyDecoderBody,
  applyDecoderHead,
  type DecoderConfig,
  decoderStride,
} from "./decoder.ts";
import {
  applyDiscriminator,
  type DiscriminatorConfig,
  isRunningStatistic,
} from "./discriminator.ts";
import { applyEncoder } from "./encoder.ts";
import {
  absoluteLoss,
  adaptiveWeight,
  generatorLoss,
  hingeLoss,
  type Perceptual,
  type SemanticDistance,
  semanticLoss,
} from "./losses.ts";

/** Architecture of a tokenizer, as stored in its `config.json`. */
export interface TokenizerConfig {
  readonly encoder: ViTConfig;
  readonly decoder: DecoderConfig;
  /** Width between the adapter's two layers. @default the encoder's width */
  readonly adapterHidden?: number;
}

export type Stage = "latent" | "perceptual" | "refine";

/** The stages in their order. */
export const stages: readonly Stage[] = ["latent", "perceptual", "refine"];

/** Prefixes of the weights that each stage trains; all others are frozen. */
export const trainableParts: Readonly<Record<Stage, readonly string[]>> = {
  latent: ["adapter", "post_quant_conv", "decoder"],
  perceptual: ["encoder", "adapter", "post_quant_conv", "decoder"],
  refine: ["post_quant_conv", "decoder"],
};

export interface StageConfig {
  readonly stage: Stage;
  readonly tokenizer: TokenizerConfig;
  /** The perceptual term. @default none */
  readonly perceptual?: Perceptual;
  /** Builds the GAN branch. @default none */
  readonly discriminator?: DiscriminatorConfig;
  /** Weight of the perceptual term. @default 1 */
  readonly perceptualWeight?: number;
  /** Factor on the adaptive weight of the generator's loss. @default 0.5 */
  readonly discriminatorWeight?: number;
  /** Weight of the semantic-preservation loss, stage `perceptual`. @default 1 */
  readonly semanticWeight?: number;
  /** @default "l2" */
  readonly semanticDistance?: SemanticDistance;
}

export interface StageInputs {
  /** The weights under `trainableParts[stage]`. */
  readonly trainable: TensorParameters;
  /** `encoder.*` (and, to refine, `adapter.*`), unless `features` or `latents` stand in for them. */
  readonly frozen?: TensorParameters;
  /** `encoder.*` and `adapter.*` as the previous stage left them, unless `latents` stand in for them. */
  readonly snapshot?: TensorParameters;
  /** Weights and running statistics; present exactly where the configuration has a discriminator. */
  readonly discriminator?: TensorParameters;
  /** Weights of the perceptual term; present exactly where the configuration has one. */
  readonly perceptual?: TensorParameters;
  /** `(N, 3, H, W)` in [-1, 1]. */
  readonly images: Tensor;
  /** Stage `latent`: patch tokens `(N, T, W)` of the frozen encoder, computed once. */
  readonly features?: Tensor;
  /** `(N, T, d)`. Stage `refine`: the latents, computed once. Stage `perceptual`: those of the snapshot. */
  readonly latents?: Tensor;
}

/** Scalars of one step. */
export interface StageLosses {
  /** What the trainable part minimises, with every weight applied. */
  readonly total: Tensor;
  readonly absolute: Tensor;
  readonly perceptual?: Tensor;
  readonly semantic?: Tensor;
  readonly generator?: Tensor;
  /** The factor that the generator's loss had, `discriminatorWeight` included. */
  readonly generatorWeight?: Tensor;
  readonly discriminator?: Tensor;
}

export interface StageOutputs {
  readonly losses: StageLosses;
  /** Of `losses.total`, like `trainable`. */
  readonly gradients: TensorParameters;
  /** Of `losses.discriminator`, like the discriminator's weights without its statistics. */
  readonly discriminatorGradients?: TensorParameters;
  /** The discriminator's running statistics after this batch. */
  readonly discriminatorStatistics?: TensorParameters;
}

/** The function to compile for a stage. */
export function createStageStep(config: StageConfig): (inputs: StageInputs) => StageOutputs {
  const { discriminator, tokenizer, semanticWeight = 1 } = config;

  return (inputs) => {
    checkInputs(config, inputs);
    const { aux, gradients } = valueAndGrad((trainable: TensorParameters) => {
      const params = { ...inputs.frozen, ...trainable };
      const latents = latentsOf(config, params, inputs); // (N, T, d)
      const hidden = applyDecoderBody(
        tokenizer.decoder,
        params,
        toMap(config, latents, inputs.images),
      );
      const image = applyDecoderHead(tokenizer.decoder, params, hidden); // (N, 3, H, W)
      const semantic = semanticTerm(config, latents, inputs);
      const judged = discriminator
        ? adversarialTerm(config, inputs, { params, hidden, image })
        : reconstructionTerm(config, inputs, image);
      const withSemantic = (loss: Tensor) =>
        semantic ? add(loss, mul(semantic, scalar(semanticWeight))) : loss;
      const losses = {
        ...judged.losses,
        ...(semantic && { semantic }),
        total: withSemantic(judged.losses.total),
      };
      return { loss: withSemantic(judged.loss), aux: { losses, image: stopGradient(image) } };
    }, inputs.trainable);
    if (!discriminator) return { losses: aux.losses, gradients };
    const judge = discriminatorStep(discriminator, inputs, aux.image);
    return {
      losses: { ...aux.losses, discriminator: judge.loss },
      gradients,
      discriminatorGradients: judge.gradients,
      discriminatorStatistics: judge.statistics,
    };
  };
}

/** The latents under training: of the trainable and frozen weights, or as given. */
function latentsOf(config: StageConfig, params: TensorParameters, inputs: StageInputs): Tensor {
  const { stage, tokenizer } = config;
  if (stage === "refine" && inputs.latents) return inputs.latents;
  const stride = decoderStride(tokenizer.decoder);
  const features =
    stage === "latent" && inputs.features
      ? inputs.features
      : applyEncoder(tokenizer.encoder, params, inputs.images, { stride });
  return applyAdapter(params, features);
}

/** `(N, T, d)` to `(N, d, h, w)`. */
function toMap({ tokenizer }: StageConfig, latents: Tensor, images: Tensor): Tensor {
  const [n, , d] = latents.shape as [number, number, number];
  const stride = decoderStride(tokenizer.decoder);
  const [height, width] = images.shape.slice(2) as [number, number];
  return reshape(transpose(latents, [0, 2, 1]), [n, d, height / stride, width / stride]);
}

/** The distance to the latents of the snapshot, which no gradient reaches. */
function semanticTerm(
  config: StageConfig,
  latents: Tensor,
  inputs: StageInputs,
): Tensor | undefined {
  if (config.stage !== "perceptual") return undefined;
  const { tokenizer, semanticDistance: distance = "l2" } = config;
  const { snapshot, images } = inputs;
  const kept = snapshot
    ? applyAdapter(
        snapshot,
        applyEncoder(tokenizer.encoder, snapshot, images, {
          stride: decoderStride(tokenizer.decoder),
        }),
      )
    : inputs.latents!;
  return semanticLoss(latents, kept, { distance });
}

/** `loss` is what to differentiate; `losses` holds the terms, its `total` without the semantic one. */
interface Judged {
  readonly loss: Tensor;
  readonly losses: StageLosses;
}

function reconstructionTerm(config: StageConfig, inputs: StageInputs, image: Tensor): Judged {
  const { perceptual, perceptualWeight = 1 } = config;
  const absolute = absoluteLoss(image, inputs.images);
  if (!perceptual) return { loss: absolute, losses: { total: absolute, absolute } };
  const distance = perceptual.distance(inputs.perceptual!, image, inputs.images);
  const total = add(absolute, mul(distance, scalar(perceptualWeight)));
  return { loss: total, losses: { total, absolute, perceptual: distance } };
}

/**
 * Reconstruction and generator together. Their gradients are taken at the image, once each; from there
 * both the adaptive weight and the pull on all weights follow: the sum of image times its combined
 * gradient, held constant, has the gradient of the combined loss, for one backward pass of the decoder.
 */
function adversarialTerm(
  config: StageConfig,
  inputs: StageInputs,
  {
    params,
    hidden,
    image,
  }: { readonly params: TensorParameters; readonly hidden: Tensor; readonly image: Tensor },
): Judged {
  const { tokenizer, discriminator, discriminatorWeight = 0.5 } = config;
  const seen = stopGradient(image);
  const reconstruction = valueAndGrad((x: Tensor) => {
    const { loss, losses } = reconstructionTerm(config, inputs, x);
    return { loss, aux: losses };
  }, seen);
  const generator = valueAndGrad((x: Tensor) => {
    const { logits } = applyDiscriminator(discriminator!, inputs.discriminator!, x, {
      training: true,
    });
    return generatorLoss(logits);
  }, seen);

  const name = "decoder.conv_out.weight";
  const heldHidden = stopGradient(hidden);
  const held = {
    ...params,
    "decoder.conv_out.bias": stopGradient(params["decoder.conv_out.bias"]!),
  };
  const atLastWeight = (imageGradient: Tensor) =>
    valueAndGrad(
      (weight: Tensor) =>
        sum(
          mul(
            applyDecoderHead(tokenizer.decoder, { ...held, [name]: weight }, heldHidden),
            imageGradient,
          ),
        ),
      stopGradient(params[name]!),
    ).gradients;
  const weight = mul(
    adaptiveWeight(atLastWeight(reconstruction.gradients), atLastWeight(generator.gradients)),
    scalar(discriminatorWeight),
  );
  const pull = stopGradient(add(reconstruction.gradients, mul(generator.gradients, weight)));
  return {
    loss: sum(mul(image, pull)),
    losses: {
      ...reconstruction.aux,
      total: add(reconstruction.value, mul(generator.value, weight)),
      generator: generator.value,
      generatorWeight: weight,
    },
  };
}

/** One step of the discriminator: it sees the real batch, then the reconstructed one, as two batches. */
function discriminatorStep(
  config: DiscriminatorConfig,
  { discriminator, images }: StageInputs,
  reconstructed: Tensor,
) {
  const entries = Object.entries(discriminator!);
  const weights: TensorParameters = Object.fromEntries(
    entries.filter(([name]) => !isRunningStatistic(name)),
  );
  const { value, aux, gradients } = valueAndGrad((trained: TensorParameters) => {
    const training = { training: true } as const;
    const real = applyDiscriminator(config, { ...discriminator, ...trained }, images, training);
    const fake = applyDiscriminator(
      config,
      { ...real.statistics, ...trained },
      reconstructed,
      training,
    );
    return { loss: hingeLoss(real.logits, fake.logits), aux: fake.statistics };
  }, weights);
  return { loss: value, gradients, statistics: aux };
}

/** What cannot be seen from the types: which inputs a stage needs. */
function checkInputs(config: StageConfig, inputs: StageInputs): void {
  const { stage, discriminator, perceptual } = config;
  const missing = [
    discriminator && !inputs.discriminator && "discriminator",
    perceptual && !inputs.perceptual && "perceptual",
    stage === "latent" && !inputs.features && !inputs.frozen && "features or frozen",
    stage === "perceptual" && !inputs.latents && !inputs.snapshot && "latents or snapshot",
    stage === "refine" && !inputs.latents && !inputs.frozen && "latents or frozen",
  ].filter(Boolean);
  check(
    missing.length === 0,
    () =>
      `stage ${stage}: expected the inputs ${missing.join(", ")}, got ${Object.keys(inputs).join(", ")}`,
  );
}
