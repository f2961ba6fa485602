/**
 * A training step of LDM's and VA-VAE's autoencoders: reconstruction and adversarial loss as for AlignTok, the divergence
 * from a standard normal, and for VA-VAE the distance to the features of a frozen encoder.
 *
 * Papers: Rombach et al. 2022 (LDM); Yao et al. 2025 (VA-VAE). Upstream: hustvl/LightningDiT at 2725fed, `vavae/`. For the
 * differences see `losses.ts` and `reconstruction-step.ts`.
 */
import { check } from "@aligntok/core";
import type { ViTConfig } from "@aligntok/encoders";
import type { TensorParameters } from "@aligntok/nn";
import { reshape, type Tensor, transpose } from "@tensorflow/tfjs-core";
import { applyEncoder, withoutPrefix, withPrefix } from "../encoder.ts";
import { klLoss, samplePosterior } from "../posterior.ts";
import {
  createReconstructionStep,
  type EncodedLatents,
  type ReconstructionConfig,
  type StageInputs,
  type StageOutputs,
} from "../reconstruction-step.ts";
import {
  type AutoencoderConfig,
  autoencoderDecoder,
  autoencoderStride,
  encodePosterior,
} from "./autoencoder.ts";
import { projectLatents, type VisionLossOptions, visionLoss } from "./losses.ts";

export interface AutoencoderStepConfig extends ReconstructionConfig {
  readonly autoencoder: AutoencoderConfig;
  /** Weight of the divergence from a standard normal. @default 1e-6 */
  readonly klWeight?: number;
  /** Makes a VA-VAE of it. @default none, a plain autoencoder */
  readonly vision?: VisionConfig;
}

export interface VisionConfig extends VisionLossOptions {
  /**
   * The frozen encoder, under `foundation_model.model.`, whose images are resized by the ratio of its patch and the
   * autoencoder's stride. VA-VAE gives DINOv2 images in [-1, 1]: a mean and std of 0.5.
   */
  readonly encoder: ViTConfig;
  /** Factor on the adaptive weight: VA-VAE's 0.5 for 100 epochs, 0.1 for 30. @default 0.1 */
  readonly weight?: number;
}

/** Prefix of the frozen encoder's weights, upstream's. */
export const visionPrefix = "foundation_model.model.";

/**
 * The function to compile. `trainable` holds the autoencoder and, with `vision`, `linear_proj.weight` (W, d, 1, 1); `noise`
 * is `(N, T, d)`; the encoder's tokens are `features` `(N, T, W)`, or computed of the weights in `frozen`.
 */
export function createAutoencoderStep(
  config: AutoencoderStepConfig,
): (inputs: StageInputs) => StageOutputs {
  const step = createReconstructionStep(
    {
      decoder: autoencoderDecoder(config.autoencoder),
      encode: (params, inputs) => encode(config, params, inputs),
      generatorLimit: (images) => 1e4 / valuesOf(images),
    },
    config,
  );
  return (inputs) => {
    const missing = [
      !inputs.noise && "noise",
      config.vision && !inputs.features && !inputs.frozen && "features or frozen",
      config.discriminator && !inputs.discriminator && "discriminator",
      config.perceptual && !inputs.perceptual && "perceptual",
    ].filter(Boolean);
    check(
      missing.length === 0,
      () =>
        `autoencoder step: expected the inputs ${missing.join(", ")}, got ${Object.keys(inputs).join(", ")}. give those as well`,
    );
    return step(inputs);
  };
}

function encode(
  { autoencoder, klWeight = 1e-6, vision }: AutoencoderStepConfig,
  params: TensorParameters,
  inputs: StageInputs,
): EncodedLatents {
  const { images, noise } = inputs;
  const posterior = encodePosterior(autoencoder, params, images);
  const [n, d, h, w] = posterior.mean.shape as [number, number, number, number];
  const map = reshape(transpose(noise!, [0, 2, 1]), [n, d, h, w]);
  const latents = samplePosterior(posterior, map);
  const values = valuesOf(images);
  const kl = { loss: klLoss(posterior, values), weight: klWeight };
  if (!vision) return { latents, terms: { kl } };
  const features = inputs.features ?? featuresOf(vision.encoder, params, { images, autoencoder });
  const loss = visionLoss(projectLatents(params, latents), features, vision);
  const balance = { at: "encoder.conv_out.weight", limit: 1e8 / values };
  return { latents, terms: { kl, vf: { loss, weight: vision.weight ?? 0.1, balance } } };
}

/** Of an image: 3 H W. */
function valuesOf({ shape }: Tensor): number {
  return shape.slice(1).reduce((a, b) => a * b);
}

/** Patch tokens `(N, T, W)`. */
function featuresOf(
  encoder: ViTConfig,
  params: TensorParameters,
  given: { readonly images: Tensor; readonly autoencoder: AutoencoderConfig },
): Tensor {
  const own = withPrefix(withoutPrefix(params, visionPrefix), "encoder.");
  return applyEncoder(encoder, own, given.images, {
    stride: autoencoderStride(given.autoencoder),
  });
}
