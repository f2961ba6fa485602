/**
 * A training step of any tokenizer whose decoder turns latents into images: reconstruction, adversarial loss with
 * its adaptive weight, and whatever terms the latents bring; then the discriminator's own step.
 *
 * Papers: Esser et al. 2021 (VQGAN), Rombach et al. 2022 (LDM). Upstream: `LPIPSWithDiscriminator` of
 * CompVis/latent-diffusion at a506df5. Difference: one pass gives both gradients, so the discriminator judges the very
 * images that the decoder was judged by, rather than those after the decoder's update.
 *
 * N images, H x W pixels, T tokens, W width of an encoder, d channels and h x w size of the latent.
 */

import { stopGradient, valueAndGrad } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import { add, mul, scalar, sum, type Tensor } from "@tensorflow/tfjs-core";
import { applyDecoderBody, applyDecoderHead, type DecoderConfig } from "./decoder.ts";
import {
  applyDiscriminator,
  type DiscriminatorConfig,
  isRunningStatistic,
} from "./discriminator.ts";
import {
  type AdversarialLoss,
  absoluteLoss,
  adaptiveWeight,
  generatorLoss,
  hingeLoss,
  logisticLoss,
  type Perceptual,
} from "./losses.ts";

/** The part of the loss that is the same for every tokenizer. */
export interface ReconstructionConfig {
  /** The perceptual term. @default none */
  readonly perceptual?: Perceptual;
  /** Weight of the perceptual term. @default 1 */
  readonly perceptualWeight?: number;
  /** Builds the GAN branch. @default none */
  readonly discriminator?: DiscriminatorConfig;
  /** Factor on the adaptive weight of the generator's loss. @default 0.5, VA-VAE's */
  readonly discriminatorWeight?: number;
  /** @default "hinge" */
  readonly adversarialLoss?: AdversarialLoss;
  /**
   * Computes the values inside the blocks of encoder and decoder again for their gradients, in place of keeping them: less
   * memory for a second forward pass. The numbers stay the same. @default false
   */
  readonly recompute?: boolean;
}

/** How a tokenizer under training makes latents: what AlignTok's stages and a VAE differ in. */
export interface LatentModel {
  readonly decoder: DecoderConfig;
  /** Of all weights, trained and frozen; called with tensors that gradients are taken of. */
  encode(params: TensorParameters, inputs: StageInputs): EncodedLatents;
  /** Largest adaptive weight of the generator's loss. @default 1e4, VQGAN's */
  generatorLimit?(images: Tensor): number;
}

export interface EncodedLatents {
  /** `(N, d, h, w)`: what the decoder gets. */
  readonly latents: Tensor;
  /** Losses on the latents. @default none */
  readonly terms?: Readonly<Partial<Record<TermName, LatentTerm>>>;
}

export type TermName = "semantic" | "kl" | "vf";

export interface LatentTerm {
  /** A scalar. */
  readonly loss: Tensor;
  readonly weight: number;
  /**
   * A trained weight of the encoder at which the term's gradient is made as long as the reconstruction's before `weight`
   * applies, as VA-VAE does; at most `limit` times as long. @default none
   */
  readonly balance?: { readonly at: string; readonly limit: number };
}

export interface StageInputs {
  /** The weights under training. */
  readonly trainable: TensorParameters;
  /** Weights that stay as they are, unless `features` or `latents` stand in for them. */
  readonly frozen?: TensorParameters;
  /** Stage `perceptual`: `encoder.*` and `adapter.*` as the previous stage left them, unless `latents` or `features` stand in for them. */
  readonly snapshot?: TensorParameters;
  /** Weights and running statistics; present exactly where the configuration has a discriminator. */
  readonly discriminator?: TensorParameters;
  /** Weights of the perceptual term; present exactly where the configuration has one. */
  readonly perceptual?: TensorParameters;
  /** `(N, 3, H, W)` in [-1, 1]. */
  readonly images: Tensor;
  /** Patch tokens `(N, T, W)` of a frozen encoder, computed once. */
  readonly features?: Tensor;
  /** `(N, T, d)`. Stage `refine`: the latents, computed once. Stage `perceptual`: those of the snapshot. */
  readonly latents?: Tensor;
  /** `(N, T, d)` standard normal numbers, where latents are sampled. */
  readonly noise?: Tensor;
}

/** Scalars of one step. */
export interface StageLosses {
  readonly absolute: Tensor;
  readonly perceptual?: Tensor;
  readonly semantic?: Tensor;
  readonly kl?: Tensor;
  readonly vf?: Tensor;
  /** The factor that a balanced term had, its own weight included. */
  readonly vfWeight?: Tensor;
  readonly generator?: Tensor;
  /** The factor that the generator's loss had, `discriminatorWeight` included. */
  readonly generatorWeight?: Tensor;
  /** What the trainable part minimises, with every weight applied. */
  readonly total: Tensor;
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

/** The function to compile for a training step. */
export function createReconstructionStep(
  model: LatentModel,
  config: ReconstructionConfig,
): (inputs: StageInputs) => StageOutputs {
  return (inputs) => {
    const { aux, gradients } = valueAndGrad((trainable: TensorParameters) => {
      const params = { ...inputs.frozen, ...trainable };
      const encoded = model.encode(params, inputs);
      const { recompute = false } = config;
      const hidden = applyDecoderBody(model.decoder, params, encoded.latents, { recompute });
      const image = applyDecoderHead(model.decoder, params, hidden); // (N, 3, H, W)
      const weighed = weighImage(model, { config, inputs, params, hidden, image });
      const terms = weighTerms(model, {
        encoded,
        params,
        inputs,
        recompute,
        pull: weighed.reconstruction,
      });
      return {
        loss: add(sum(mul(image, weighed.pull)), terms.loss),
        aux: {
          // the total comes last: a loss that is not finite is told by the first term that is not
          losses: {
            ...weighed.losses,
            ...terms.losses,
            total: add(weighed.total, terms.loss),
          },
          image: stopGradient(image),
        },
      };
    }, inputs.trainable);
    if (!config.discriminator) return { losses: aux.losses, gradients };
    const discriminator = discriminatorStep(config, inputs, aux.image);
    return {
      losses: { ...aux.losses, discriminator: discriminator.loss },
      gradients,
      discriminatorGradients: discriminator.gradients,
      discriminatorStatistics: discriminator.statistics,
    };
  };
}

/** A decoded image with what made it. */
interface Decoded {
  readonly config: ReconstructionConfig;
  readonly inputs: StageInputs;
  readonly params: TensorParameters;
  /** What the decoder's last convolution got. */
  readonly hidden: Tensor;
  readonly image: Tensor;
}

/**
 * Reconstruction and generator together. Their gradients are taken at the image, once each; from there
 * both the adaptive weight and the pull on all weights follow: the sum of image times its combined
 * gradient, held constant, has the gradient of the combined loss, for one backward pass of the decoder.
 */
function weighImage(model: LatentModel, decoded: Decoded) {
  const { config, inputs } = decoded;
  const { discriminator, discriminatorWeight = 0.5, adversarialLoss = "hinge" } = config;
  const seen = stopGradient(decoded.image);
  const reconstruction = valueAndGrad((x: Tensor) => reconstructionLoss(config, inputs, x), seen);
  const pull = stopGradient(reconstruction.gradients);
  const { aux: losses, value: total } = reconstruction;
  if (!discriminator) return { pull, reconstruction: pull, losses, total };

  const generator = valueAndGrad((x: Tensor) => {
    const { logits } = applyDiscriminator(discriminator, inputs.discriminator!, x, {
      training: true,
    });
    return generatorLoss(logits, { kind: adversarialLoss });
  }, seen);
  const atLastWeight = gradientAtLastWeight(model, decoded);
  const limit = model.generatorLimit?.(inputs.images);
  const ratio = adaptiveWeight(atLastWeight(pull), atLastWeight(generator.gradients), {
    ...(limit !== undefined && { limit }),
  });
  const weight = stopGradient(mul(ratio, scalar(discriminatorWeight)));
  return {
    pull: stopGradient(add(pull, mul(generator.gradients, weight))),
    reconstruction: pull,
    losses: { ...losses, generator: generator.value, generatorWeight: weight },
    total: add(total, mul(generator.value, weight)),
  };
}

function reconstructionLoss(
  { perceptual, perceptualWeight = 1 }: ReconstructionConfig,
  inputs: StageInputs,
  image: Tensor,
): { loss: Tensor; aux: Pick<StageLosses, "absolute" | "perceptual"> } {
  const absolute = absoluteLoss(image, inputs.images);
  if (!perceptual) return { loss: absolute, aux: { absolute } };
  const distance = perceptual.distance(inputs.perceptual!, image, inputs.images);
  const loss = add(absolute, mul(distance, scalar(perceptualWeight)));
  return { loss, aux: { absolute, perceptual: distance } };
}

/** From the gradient at the image to that at `decoder.conv_out.weight`. */
function gradientAtLastWeight({ decoder }: LatentModel, { params, hidden }: Decoded) {
  const name = "decoder.conv_out.weight";
  const heldHidden = stopGradient(hidden);
  const held = {
    ...params,
    "decoder.conv_out.bias": stopGradient(params["decoder.conv_out.bias"]!),
  };
  return (pull: Tensor) =>
    valueAndGrad(
      (weight: Tensor) =>
        sum(mul(applyDecoderHead(decoder, { ...held, [name]: weight }, heldHidden), pull)),
      stopGradient(params[name]!),
    ).gradients;
}

interface Encoding {
  readonly encoded: EncodedLatents;
  readonly params: TensorParameters;
  readonly inputs: StageInputs;
  /** Gradient of the reconstruction at the image. */
  readonly pull: Tensor;
  readonly recompute: boolean;
}

/** The losses on the latents, weighted and summed. */
function weighTerms(
  model: LatentModel,
  given: Encoding,
): { readonly loss: Tensor; readonly losses: Partial<StageLosses> } {
  const losses: Record<string, Tensor> = {};
  let loss: Tensor = scalar(0);
  for (const [name, term] of Object.entries(given.encoded.terms ?? {})) {
    losses[name] = term.loss;
    let weight: Tensor = scalar(term.weight);
    if (term.balance) {
      weight = stopGradient(mul(weight, balanceOf(model, name as TermName, given)));
      losses[`${name}Weight`] = weight;
    }
    loss = add(loss, mul(term.loss, weight));
  }
  return { loss, losses };
}

/**
 * The adaptive weight of a term at a weight of the encoder. The encoder is written down again as a function of that
 * weight alone; what comes before it is the same expression, which a compiled graph computes once.
 */
function balanceOf(
  { encode, decoder }: LatentModel,
  name: TermName,
  { encoded, params, inputs, pull, recompute }: Encoding,
): Tensor {
  const held = Object.fromEntries(
    Object.entries(params).map(([key, value]) => [key, stopGradient(value)]),
  );
  const { gradients: atLatents } = valueAndGrad((latents: Tensor) => {
    const hidden = applyDecoderBody(decoder, held, latents, { recompute });
    return sum(mul(applyDecoderHead(decoder, held, hidden), pull));
  }, stopGradient(encoded.latents));
  const { at, limit } = encoded.terms![name]!.balance!;
  const gradientOf = (loss: (encoded: EncodedLatents) => Tensor) =>
    valueAndGrad((weight: Tensor) => loss(encode({ ...held, [at]: weight }, inputs)), held[at]!)
      .gradients;
  return adaptiveWeight(
    gradientOf(({ latents }) => sum(mul(latents, stopGradient(atLatents)))),
    gradientOf(({ terms }) => terms![name]!.loss),
    { limit },
  );
}

/** One step of the discriminator: it sees the real batch, then the reconstructed one, as two batches. */
function discriminatorStep(
  { discriminator: config, adversarialLoss = "hinge" }: ReconstructionConfig,
  { discriminator, images }: StageInputs,
  reconstructed: Tensor,
) {
  const weights: TensorParameters = Object.fromEntries(
    Object.entries(discriminator!).filter(([name]) => !isRunningStatistic(name)),
  );
  const lossOf = adversarialLoss === "hinge" ? hingeLoss : logisticLoss;
  const { value, aux, gradients } = valueAndGrad((trained: TensorParameters) => {
    const training = { training: true } as const;
    const real = applyDiscriminator(config!, { ...discriminator, ...trained }, images, training);
    const before = { ...real.statistics, ...trained };
    const fake = applyDiscriminator(config!, before, reconstructed, training);
    return { loss: lossOf(real.logits, fake.logits), aux: fake.statistics };
  }, weights);
  return { loss: value, gradients, statistics: aux };
}
