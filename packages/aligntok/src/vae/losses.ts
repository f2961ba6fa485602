/**
 * The term that VA-VAE adds to those of `losses.ts` and `posterior.ts`.
 *
 * Paper: Yao et al. 2025 (VA-VAE, section 4: the vision foundation loss). Upstream: hustvl/LightningDiT at 2725fed,
 * `vavae/ldm/modules/losses/contperceptual.py`. Difference: upstream sums over the values of an image where this takes
 * means. Every term, and every limit of an adaptive weight, is upstream's divided by
 * that number of values, so that the published weights keep their meaning and Adam makes the same steps.
 *
 * N images, d channels of the latent, T positions, D width of the frozen encoder.
 */
import { conv2d, type TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";

/** Latents `(N, d, h, w)` to the width of the frozen encoder: tokens `(N, T, D)`. Reads `linear_proj.weight` (D, d, 1, 1). */
export function projectLatents(params: TensorParameters, latents: tf.Tensor): tf.Tensor {
  const wide = conv2d(params, "linear_proj", latents); // (N, D, h, w)
  const [n, d, h, w] = wide.shape as [number, number, number, number];
  return tf.transpose(tf.reshape(wide, [n, d, h * w]), [0, 2, 1]);
}

export interface VisionLossOptions {
  /** Cosine of a token and its feature that is near enough, as the distance to 1. @default 0.5 */
  readonly cosineMargin?: number;
  /** Difference of two similarities that is small enough. @default 0.25 */
  readonly distanceMargin?: number;
}

/**
 * How far projected latents are from the features of a frozen encoder, both `(N, T, D)`, a scalar: mean
 * relu(1 - margin - cos) of each token and its feature, and mean relu(|difference| - margin) of the similarities of all
 * pairs of tokens.
 *
 * VA-VAE trains with margins of 0 for 115 epochs and ends with the defaults for 15.
 */
export function visionLoss(
  projected: tf.Tensor,
  features: tf.Tensor,
  { cosineMargin = 0.5, distanceMargin = 0.25 }: VisionLossOptions = {},
): tf.Tensor {
  const [z, f] = [unitLength(projected), unitLength(features)];
  const cosines = tf.sum(tf.mul(z, f), -1); // (N, T)
  const similarities = (x: tf.Tensor) => tf.matMul(x, x, false, true); // (N, T, T)
  const differences = tf.abs(tf.sub(similarities(z), similarities(f)));
  return tf.add(
    tf.mean(tf.relu(tf.sub(tf.scalar(1 - cosineMargin), cosines))),
    tf.mean(tf.relu(tf.sub(differences, tf.scalar(distanceMargin)))),
  );
}

function unitLength(tokens: tf.Tensor): tf.Tensor {
  const squares = tf.sum(tf.square(tokens), -1, true);
  // 1e-24 as in torch.nn.functional.normalize, where the length is at least 1e-12
  return tf.div(tokens, tf.sqrt(tf.maximum(squares, tf.scalar(1e-24))));
}
