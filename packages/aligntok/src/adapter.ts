/**
 * The adapter: every patch token of the encoder to a latent.
 *
 * Paper: AlignTok, section 3. Upstream: none published. The default is a plain reading of "two-layer MLP":
 * hidden width of the encoder, GELU, PyTorch's initialisation. The other forms are for ablations.
 * Keys: `adapter.fc1.*`, `adapter.fc2.*`; linear: `adapter.fc.*`; normalised: also `adapter.norm.*`.
 *
 * N images, T tokens, W width of the encoder, d channels of the latent.
 */
import { check, type Parameters, type Random } from "@aligntok/core";
import { constant, layerNorm, linear, mlp, type TensorParameters, torchLinear } from "@aligntok/nn";
import type { Tensor } from "@tensorflow/tfjs-core";
import { type Posterior, posteriorOf } from "./posterior.ts";

/** The form of an adapter; its widths follow from encoder and decoder. */
export interface AdapterForm {
  /** Two layers with a GELU between them, or a single one. @default "mlp" */
  readonly kind?: "mlp" | "linear";
  /** Width between the two layers. @default the encoder's width */
  readonly hidden?: number;
  /** Ends in a LayerNorm over the d channels of each latent, with learned scale and shift. @default false */
  readonly normalized?: boolean;
  /** Gives a mean and a log variance for each channel, as the encoder of a VAE: 2d outputs. @default false */
  readonly variational?: boolean;
}

export interface AdapterConfig extends AdapterForm {
  /** Width W of the encoder's tokens. */
  readonly width: number;
  /** Channels d of the latent. */
  readonly latent: number;
}

/** Name and shape of every weight. */
export function adapterShapes(config: AdapterConfig): Readonly<Record<string, readonly number[]>> {
  const { width, latent, kind = "mlp", hidden = width, normalized, variational } = config;
  const outputs = variational ? 2 * latent : latent;
  const layer = (name: string, output: number, input: number) => ({
    [`${name}.weight`]: [output, input],
    [`${name}.bias`]: [output],
  });
  return {
    ...(kind === "linear"
      ? layer("adapter.fc", outputs, width)
      : { ...layer("adapter.fc1", hidden, width), ...layer("adapter.fc2", outputs, hidden) }),
    ...(normalized && { "adapter.norm.weight": [latent], "adapter.norm.bias": [latent] }),
  };
}

/** Linear layers as torch.nn.Linear starts, the norm as the identity. */
export function initAdapter(config: AdapterConfig, random: Random): Parameters {
  const params: Record<string, Parameters[string]> = {};
  for (const [key, shape] of Object.entries(adapterShapes(config))) {
    if (shape.length === 2) {
      Object.assign(params, torchLinear(random, key.slice(0, -".weight".length), shape));
    } else if (key.startsWith("adapter.norm.")) {
      params[key] = constant(shape, key.endsWith(".weight") ? 1 : 0);
    }
  }
  return params;
}

/** Tokens `(N, T, W)` to latents `(N, T, d)`: of a variational adapter the means. */
export function applyAdapter(
  config: AdapterConfig,
  params: TensorParameters,
  tokens: Tensor,
): Tensor {
  return config.variational
    ? applyVariationalAdapter(config, params, tokens).mean
    : normalized(config, params, project(config, params, tokens));
}

/** What a variational adapter makes of tokens `(N, T, W)`: a normal distribution for each latent, `(N, T, d)`. */
export function applyVariationalAdapter(
  config: AdapterConfig,
  params: TensorParameters,
  tokens: Tensor,
): Posterior {
  check(
    config.variational === true,
    "adapter: expected a variational one, got another. set variational, or take applyAdapter",
  );
  const { mean, logVariance } = posteriorOf(project(config, params, tokens), -1);
  return { mean: normalized(config, params, mean), logVariance };
}

function project({ kind }: AdapterConfig, params: TensorParameters, tokens: Tensor): Tensor {
  return kind === "linear" ? linear(params, "adapter.fc", tokens) : mlp(params, "adapter", tokens);
}

function normalized(config: AdapterConfig, params: TensorParameters, latents: Tensor): Tensor {
  return config.normalized ? layerNorm(params, "adapter.norm", latents) : latents;
}
