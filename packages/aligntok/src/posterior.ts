/**
 * Latents as a normal distribution each: of a variational adapter, and of the autoencoders under `/vae`.
 *
 * Papers: Kingma and Welling 2014 (VAE); Rombach et al. 2022 (LDM). Upstream: CompVis/latent-diffusion at a506df5,
 * `ldm/modules/distributions`. Difference: `klLoss` is over the values of an image, where upstream sums.
 */
import {
  add,
  clipByValue,
  div,
  exp,
  mul,
  scalar,
  split,
  square,
  sub,
  sum,
  type Tensor,
} from "@tensorflow/tfjs-core";

/** Mean and logarithm of the variance of each value of the latents, of one shape: `(N, d, h, w)` or `(N, T, d)`. */
export interface Posterior {
  readonly mean: Tensor;
  /** Clipped to [-30, 20]. */
  readonly logVariance: Tensor;
}

/** Means and logarithms of variances, one after the other along `axis`: by default `(N, 2d, h, w)`. */
export function posteriorOf(moments: Tensor, axis = 1): Posterior {
  const [mean, logVariance] = split(moments, 2, axis) as [Tensor, Tensor];
  return { mean, logVariance: clipByValue(logVariance, -30, 20) };
}

/** `mean + std * noise`, with standard normal noise of the same shape: the latents that training decodes. */
export function samplePosterior({ mean, logVariance }: Posterior, noise: Tensor): Tensor {
  return add(mean, mul(exp(mul(logVariance, scalar(0.5))), noise));
}

/**
 * Divergence of the latents from a standard normal, of an image, over the number of its values. Published weight: 1e-6.
 *
 * @param values of an image: 3 H W
 */
export function klLoss({ mean, logVariance }: Posterior, values: number): Tensor {
  const variance = exp(logVariance);
  const terms = sub(add(square(mean), variance), add(logVariance, scalar(1)));
  return div(sum(terms), scalar(2 * values * mean.shape[0]!));
}
