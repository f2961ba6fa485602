/**
 * The terms of the tokenizer's loss, each a mean over all elements, so that their weights do not depend
 * on the size of images or batches.
 *
 * Papers: AlignTok, section 3 (semantic preservation); Esser et al. 2021 (VQGAN: hinge, adaptive weight).
 * Upstream: CompVis/latent-diffusion at a506df5, `LPIPSWithDiscriminator`, which sums over pixels where this
 * takes means: the same up to one factor, but for the 1e-4 in the adaptive weight.
 */
import type { Parameters } from "@aligntok/core";
import { applyLpips, type LpipsWeights } from "@aligntok/lpips";
import type { TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";

/** Mean absolute difference. */
export function absoluteLoss(x: tf.Tensor, y: tf.Tensor): tf.Tensor {
  return tf.mean(tf.abs(tf.sub(x, y)));
}

/** A distance of images whose own weights stay frozen. */
export interface Perceptual {
  /** Names the distance in logs and reports. */
  readonly name: string;
  readonly parameters: Parameters;
  /** Scalar distance, averaged over the batch, of images `(N, 3, H, W)` in [-1, 1]; differentiable in `x`. */
  distance(params: TensorParameters, x: tf.Tensor, y: tf.Tensor): tf.Tensor;
}

/** LPIPS as the perceptual term, the paper's choice. */
export function createLpipsPerceptual({ config, parameters }: LpipsWeights): Perceptual {
  return {
    name: `LPIPS (${config.network})`,
    parameters,
    distance: (params, x, y) => tf.mean(applyLpips(config, params, x, y)),
  };
}

/**
 * Mean squared difference of tokens `(N, T, D)` after each token is scaled to a root mean square of 1,
 * averaged over layers: LPIPS without the fitted heads, for any network.
 */
export function featureDistance(x: readonly tf.Tensor[], y: readonly tf.Tensor[]): tf.Tensor {
  const perLayer = x.map((tokens, layer) =>
    tf.mean(tf.square(tf.sub(unitScale(tokens), unitScale(y[layer]!)))),
  );
  return tf.div(
    perLayer.reduce((sum, distance) => tf.add(sum, distance)),
    tf.scalar(perLayer.length),
  );
}

function unitScale(tokens: tf.Tensor): tf.Tensor {
  return tf.div(tokens, tf.sqrt(tf.add(tf.mean(tf.square(tokens), -1, true), tf.scalar(1e-6))));
}

/** What the discriminator minimises: half of mean relu(1 - real) + mean relu(1 + fake). */
export function hingeLoss(real: tf.Tensor, fake: tf.Tensor): tf.Tensor {
  const one = tf.scalar(1);
  const onReal = tf.mean(tf.relu(tf.sub(one, real)));
  const onFake = tf.mean(tf.relu(tf.add(one, fake)));
  return tf.mul(tf.add(onReal, onFake), tf.scalar(0.5));
}

/** The same as a cross-entropy (Goodfellow et al. 2014): half of mean softplus(-real) + mean softplus(fake). */
export function logisticLoss(real: tf.Tensor, fake: tf.Tensor): tf.Tensor {
  const onReal = tf.mean(tf.softplus(tf.neg(real)));
  const onFake = tf.mean(tf.softplus(fake));
  return tf.mul(tf.add(onReal, onFake), tf.scalar(0.5));
}

/** `hinge`: `hingeLoss`, and minus the mean logit for the generator; `non-saturating`: `logisticLoss` and softplus(-fake). */
export type AdversarialLoss = "hinge" | "non-saturating";

/** What the decoder minimises against the discriminator: minus the mean of its logits, or mean softplus(-fake). */
export function generatorLoss(
  fake: tf.Tensor,
  { kind = "hinge" }: { /** @default "hinge" */ readonly kind?: AdversarialLoss } = {},
): tf.Tensor {
  return kind === "hinge" ? tf.neg(tf.mean(fake)) : tf.mean(tf.softplus(tf.neg(fake)));
}

/**
 * The factor that makes a second loss's gradient as long as the reconstruction's at one weight:
 * `clamp(|reconstruction| / (|other| + 1e-4), 0, limit)`, a scalar. Multiply it by a fixed weight.
 */
export function adaptiveWeight(
  reconstruction: tf.Tensor,
  other: tf.Tensor,
  { limit = 1e4 }: { /** @default 1e4, VQGAN's */ readonly limit?: number } = {},
): tf.Tensor {
  const length = (gradient: tf.Tensor) => tf.sqrt(tf.sum(tf.square(gradient)));
  const ratio = tf.div(length(reconstruction), tf.add(length(other), tf.scalar(1e-4)));
  return tf.minimum(ratio, tf.scalar(limit));
}

export type SemanticDistance = "l2" | "cosine";

/** The semantic-preservation loss: how far latents `(N, T, d)`, or features, moved from those of the frozen snapshot. */
export function semanticLoss(
  latents: tf.Tensor,
  snapshot: tf.Tensor,
  { distance = "l2" }: { /** @default "l2" */ readonly distance?: SemanticDistance } = {},
): tf.Tensor {
  if (distance === "l2") return tf.mean(tf.square(tf.sub(latents, snapshot)));
  const dot = tf.sum(tf.mul(latents, snapshot), -1);
  const squares = tf.mul(tf.sum(tf.square(latents), -1), tf.sum(tf.square(snapshot), -1));
  // 1e-16 as in torch.nn.functional.cosine_similarity, where each squared length is at least 1e-16
  const cosine = tf.div(dot, tf.sqrt(tf.maximum(squares, tf.scalar(1e-16))));
  return tf.mean(tf.sub(tf.scalar(1), cosine));
}
