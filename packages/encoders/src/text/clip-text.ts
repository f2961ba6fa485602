/**
 * CLIP's text encoder.
 *
 * Paper: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021. Upstream:
 * openai/CLIP at d05afc4; parameter names are those of CLIPTextModelWithProjection of huggingface/transformers,
 * without the prefix `text_model.`. Differences: none in the numbers.
 *
 * Letters: N texts, T tokens, V ids, P positions, D width, H heads, F hidden channels, E channels of the embedding.
 */
import { type Parameters, type Random, zeros } from "@aligntok/core";
import {
  constant,
  layerNorm,
  linear,
  mlp,
  normal,
  type TensorParameters,
  weightOf,
} from "@aligntok/nn";
import { add, gather, reshape, slice, type Tensor } from "@tensorflow/tfjs-core";
import { textAttention } from "./attention.ts";
import type { TextBatch, TextLayer, TextModel, TextOutputs } from "./text-model.ts";

export type ClipTextConfig = Readonly<{
  family: "clip";
  /** Number of ids. */
  vocabulary: number;
  /** Longest text in tokens, start and end included. */
  positions: number;
  width: number;
  depth: number;
  heads: number;
  /** Hidden channels of the feed-forward network. */
  hiddenWidth: number;
  /** OpenAI's models have the quick one. */
  gelu: "none" | "tanh" | "quick";
  eps: number;
  /** Channels of the embedding that texts and images share; 0 where there is no projection. */
  embeddingWidth: number;
  /**
   * Id that ends a text, whose first place is pooled. 2 stands for the highest id of a text, as in transformers, whose
   * older configurations hold a wrong 2.
   */
  endToken: number;
}>;

/** The text encoders of OpenAI's CLIP, by the names of their vision transformers. */
export const clipTextModels = {
  clip_vit_b_32: openai(512, 8),
  clip_vit_b_16: openai(512, 8),
  clip_vit_l_14: openai(768, 12),
} as const;

function openai(width: number, heads: number): ClipTextConfig {
  return {
    family: "clip",
    vocabulary: 49408,
    positions: 77,
    width,
    depth: 12,
    heads,
    hiddenWidth: 4 * width,
    gelu: "quick",
    eps: 1e-5,
    embeddingWidth: width,
    endToken: 49407,
  };
}

/** Name and shape of every parameter, in calling order. */
export function clipTextShapes(
  config: ClipTextConfig,
): Readonly<Record<string, readonly number[]>> {
  const { width: d, hiddenWidth: f } = config;
  const layer = (name: string, out: number, input: number) => ({
    [`${name}.weight`]: [out, input],
    [`${name}.bias`]: [out],
  });
  const norm = (name: string) => ({ [`${name}.weight`]: [d], [`${name}.bias`]: [d] });
  const block = (name: string) => ({
    ...norm(`${name}.layer_norm1`),
    ...layer(`${name}.self_attn.q_proj`, d, d),
    ...layer(`${name}.self_attn.k_proj`, d, d),
    ...layer(`${name}.self_attn.v_proj`, d, d),
    ...layer(`${name}.self_attn.out_proj`, d, d),
    ...norm(`${name}.layer_norm2`),
    ...layer(`${name}.mlp.fc1`, f, d),
    ...layer(`${name}.mlp.fc2`, d, f),
  });
  return {
    "embeddings.token_embedding.weight": [config.vocabulary, d],
    "embeddings.position_embedding.weight": [config.positions, d],
    ...Object.assign(
      {},
      ...Array.from({ length: config.depth }, (_, i) => block(`encoder.layers.${i}`)),
    ),
    ...norm("final_layer_norm"),
    ...(config.embeddingWidth && { "text_projection.weight": [config.embeddingWidth, d] }),
  };
}

/** Initial weights: OpenAI's normal distributions, biases 0, norms 1. */
export function initClipText(config: ClipTextConfig, random: Random): Parameters {
  const { width, depth } = config;
  const branch = width ** -0.5 * (2 * depth) ** -0.5;
  const deviations: readonly (readonly [RegExp, number])[] = [
    [/token_embedding/, 0.02],
    [/position_embedding/, 0.01],
    [/(?:out_proj|fc2)\.weight$/, branch],
    [/fc1\.weight$/, (2 * width) ** -0.5],
    [/./, width ** -0.5],
  ];
  return Object.fromEntries(
    Object.entries(clipTextShapes(config)).map(([name, shape]) => {
      if (name.endsWith(".bias")) return [name, zeros(shape)];
      if (/norm\d?\.weight$/.test(name)) return [name, constant(shape, 1)];
      const [, deviation] = deviations.find(([pattern]) => pattern.test(name))!;
      return [name, normal(random, shape, deviation)];
    }),
  );
}

/** The tokens after a block, the end token after the final LayerNorm, and its projection. Padding comes last. */
export function applyClipText(
  config: ClipTextConfig,
  params: TensorParameters,
  { ids, visible, ends }: TextBatch,
  { layer, norm }: TextLayer,
): TextOutputs {
  const [n, t] = ids.shape as [number, number];
  const { width, eps } = config;
  const positions = weightOf(params, "embeddings.position_embedding.weight"); // (P, D)
  let x = add(
    gather(weightOf(params, "embeddings.token_embedding.weight"), ids),
    slice(positions, [0, 0], [t, width]),
  ); // (N, T, D)
  let wanted = x;
  for (let i = 0; i < config.depth; i++) {
    x = block(config, params, `encoder.layers.${i}`, x, visible);
    if (i === layer) wanted = x;
  }
  const last = layerNorm(params, "final_layer_norm", x, eps);
  const pooled = gather(reshape(last, [n * t, width]), ends); // (N, D)
  return {
    tokens: norm ? layerNorm(params, "final_layer_norm", wanted, eps) : wanted,
    pooled,
    ...(config.embeddingWidth && { embedding: linear(params, "text_projection", pooled) }), // (N, E)
  };
}

const names = { query: "q_proj", key: "k_proj", value: "v_proj", output: "out_proj" } as const;

function block(
  { heads, eps, gelu }: ClipTextConfig,
  params: TensorParameters,
  name: string,
  x: Tensor,
  bias: Tensor,
): Tensor {
  const normed = layerNorm(params, `${name}.layer_norm1`, x, eps);
  const attention = { names, heads, bias, causal: true };
  const mixed = add(x, textAttention(params, `${name}.self_attn`, normed, attention));
  const output = mlp(params, `${name}.mlp`, layerNorm(params, `${name}.layer_norm2`, mixed, eps), {
    gelu,
  });
  return add(mixed, output);
}

export function clipTextModel(config: ClipTextConfig): TextModel {
  return {
    width: config.width,
    depth: config.depth,
    vocabulary: config.vocabulary,
    maxLength: config.positions,
    fixedLength: true,
    endOf: (ids) =>
      Math.max(0, ids.indexOf(config.endToken === 2 ? ids.reduce(highest) : config.endToken)),
    apply: (params, batch, layer) => applyClipText(config, params, batch, layer),
  };
}

function highest(a: number, b: number): number {
  return Math.max(a, b);
}
