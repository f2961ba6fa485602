/** What is kept of an image's tokens: all of them, a part, or one vector. */
import { check } from "@aligntok/core";
import { attention } from "@aligntok/jit";
import { layerNorm, linear, mlp, type TensorParameters, weightOf } from "@aligntok/nn";
import {
  add,
  mean,
  reshape,
  slice,
  split,
  type Tensor,
  tile,
  transpose,
} from "@tensorflow/tfjs-core";
import { firstToken, prefixTokens, type ViTConfig } from "./vit.ts";

const poolings = ["none", "patches", "registers", "cls", "mean", "embedding"] as const;

/**
 * none: all tokens; patches, registers: those alone; cls: the class token; mean: that of the patches; embedding: the
 * model's own of the image, CLIP's projection or SigLIP's attention pooling.
 */
export type Pooling = (typeof poolings)[number];

/**
 * The shape of one image's features.
 *
 * @param patches number of its patch tokens
 * @throws AlignTokError `bad-input` for a pooling that does not exist, or that this model has nothing for
 */
export function pooledShape(config: ViTConfig, pool: Pooling, patches: number): readonly number[] {
  const { registers, width, classToken, embedding, embeddingWidth } = config;
  check(poolings.includes(pool), () => `pool: expected ${poolings.join(", ")}, got ${pool}`);
  check(
    pool !== "registers" || registers > 0,
    "pool registers: expected a model with register tokens, got one without. take cls or patches",
  );
  check(
    pool !== "cls" || classToken,
    "pool cls: expected a model with a class token, got one without. take embedding or mean",
  );
  check(
    pool !== "embedding" || embedding !== "none",
    "pool embedding: expected a CLIP with its projection or a SigLIP, got a model without. take cls or mean",
  );
  const shapes = {
    none: [prefixTokens(config) + patches, width],
    patches: [patches, width],
    registers: [registers, width],
    cls: [width],
    mean: [width],
    embedding: [embeddingWidth],
  } as const;
  return shapes[pool];
}

/**
 * Tokens (N, C + R + T, D) to what `pooledShape` says of each image, in the graph. `embedding` (N, E) is of the tokens
 * of the last block after the final LayerNorm.
 */
export function poolTokens(
  config: ViTConfig,
  params: TensorParameters,
  tokens: Tensor,
  pool: Pooling,
): Tensor {
  const [n, t, d] = tokens.shape as [number, number, number];
  const prefix = prefixTokens(config);
  const part = (first: number, count: number) => slice(tokens, [0, first, 0], [n, count, d]);
  pooledShape(config, pool, t - prefix); // refuses what the model does not have
  switch (pool) {
    case "none":
      return tokens;
    case "patches":
      return part(prefix, t - prefix); // (N, T, D)
    case "registers":
      return part(prefix - config.registers, config.registers); // (N, R, D)
    case "cls":
      return firstToken(tokens); // (N, D)
    case "mean":
      return mean(part(prefix, t - prefix), 1); // (N, D)
    case "embedding":
      return config.embedding === "projection"
        ? linear(params, "projection", firstToken(tokens)) // (N, E)
        : attentionPool(config, params, tokens); // (N, D)
  }
}

/** SigLIP's pooling (Zhai et al., 2022, "MAP"): one learned query attends to all tokens. */
function attentionPool(config: ViTConfig, params: TensorParameters, tokens: Tensor): Tensor {
  const { heads, eps, gelu } = config;
  const [n, t, d] = tokens.shape as [number, number, number];
  const toHeads = (x: Tensor, count: number) =>
    transpose(reshape(x, [n, count, heads, d / heads]), [0, 2, 1, 3]); // (N, heads, count, D/heads)
  const query = linear(
    params,
    "attn_pool.q",
    tile(weightOf(params, "attn_pool.latent"), [n, 1, 1]),
  );
  const [k, v] = split(linear(params, "attn_pool.kv", tokens), 2, -1) as [Tensor, Tensor];
  const mixed = attention(toHeads(query, 1), toHeads(k, t), toHeads(v, t)); // (N, heads, 1, D/heads)
  const pooled = linear(params, "attn_pool.proj", reshape(transpose(mixed, [0, 2, 1, 3]), [n, d]));
  const normed = layerNorm(params, "attn_pool.norm", pooled, eps);
  return add(pooled, mlp(params, "attn_pool.mlp", normed, { gelu })); // (N, D)
}
