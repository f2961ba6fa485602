/**
 * The adapter: a two-layer perceptron on every patch token, from the encoder's width to the latent's.
 *
 * Paper: AlignTok, section 3. Upstream: none published; hidden width, activation and initialisation
 * are a plain reading of "two-layer MLP". Keys: `adapter.fc1.*`, `adapter.fc2.*`.
 *
 * N images, T tokens, W width of the encoder, d channels of the latent.
 */
import type { Parameters, Random } from "@aligntok/core";
import { mlp, type TensorParameters, torchLinear } from "@aligntok/nn";
import type { Tensor } from "@tensorflow/tfjs-core";

export interface AdapterConfig {
  /** Width W of the encoder's tokens. */
  readonly width: number;
  /** Channels d of the latent. */
  readonly latent: number;
  /** Width between the two layers. @default the encoder's width */
  readonly hidden?: number;
}

/** Name and shape of every weight. */
export function adapterShapes(config: AdapterConfig): Readonly<Record<string, readonly number[]>> {
  const { width, latent, hidden = width } = config;
  return {
    "adapter.fc1.weight": [hidden, width],
    "adapter.fc1.bias": [hidden],
    "adapter.fc2.weight": [latent, hidden],
    "adapter.fc2.bias": [latent],
  };
}

/** Weights as torch.nn.Linear starts. */
export function initAdapter(config: AdapterConfig, random: Random): Parameters {
  const shapes = adapterShapes(config);
  return {
    ...torchLinear(random, "adapter.fc1", shapes["adapter.fc1.weight"]!),
    ...torchLinear(random, "adapter.fc2", shapes["adapter.fc2.weight"]!),
  };
}

/** Tokens `(N, T, W)` to latents `(N, T, d)`. */
export function applyAdapter(params: TensorParameters, tokens: Tensor): Tensor {
  return mlp(params, "adapter", tokens);
}
