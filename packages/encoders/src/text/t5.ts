/**
 * T5's encoder: v1.0 (ReLU) and v1.1 (gated GELU), and what is built like them, such as Flan-T5.
 *
 * Paper: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020;
 * Shazeer, "GLU Variants Improve Transformer", 2020. Upstream: T5EncoderModel of huggingface/transformers, whose
 * parameter names are used here. Differences: none in the numbers; no dropout.
 *
 * Letters: N texts, T tokens, V ids, D width, H heads, d head width, F hidden channels.
 */
import type { Parameters, Random } from "@aligntok/core";
import { gelu } from "@aligntok/jit";
import { constant, linear, normal, rmsNorm, type TensorParameters, weightOf } from "@aligntok/nn";
import {
  add,
  gather,
  mul,
  relu,
  reshape,
  type Tensor,
  tensor,
  transpose,
} from "@tensorflow/tfjs-core";
import { textAttention } from "./attention.ts";
import type { TextBatch, TextLayer, TextModel, TextOutputs } from "./text-model.ts";

export type T5Config = Readonly<{
  family: "t5";
  /** Number of ids, those beyond the tokenizer's included. */
  vocabulary: number;
  width: number;
  depth: number;
  heads: number;
  /** Channels of a head: heads times this need not be the width. */
  headWidth: number;
  /** Hidden channels of the feed-forward network; of each half where it is gated. */
  hiddenWidth: number;
  feedForward: "relu" | "gated-gelu";
  /** Distances of tokens that attention tells apart, half of them for each direction. */
  buckets: number;
  /** Distance from which all are alike. */
  maxDistance: number;
  eps: number;
  /** Longest text in tokens, end included, where no other length is asked for. */
  maxLength: number;
}>;

/** The v1.1 encoders. Their Flan-T5 namesakes are built alike. */
export const t5Models = {
  t5_v1_1_small: v11(512, 8, 6, 1024),
  t5_v1_1_base: v11(768, 12, 12, 2048),
  t5_v1_1_large: v11(1024, 24, 16, 2816),
  t5_v1_1_xl: v11(2048, 24, 32, 5120),
  t5_v1_1_xxl: v11(4096, 24, 64, 10240),
} as const;

function v11(width: number, depth: number, heads: number, hiddenWidth: number): T5Config {
  return {
    family: "t5",
    vocabulary: 32128,
    width,
    depth,
    heads,
    headWidth: 64,
    hiddenWidth,
    feedForward: "gated-gelu",
    buckets: 32,
    maxDistance: 128,
    eps: 1e-6,
    maxLength: 512,
  };
}

const relativeBias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";

/** Name and shape of every parameter, in calling order. */
export function t5Shapes(config: T5Config): Readonly<Record<string, readonly number[]>> {
  const { width: d, hiddenWidth: f, heads } = config;
  const inner = heads * config.headWidth;
  const block = (i: number) => {
    const [attention, feedForward] = [`encoder.block.${i}.layer.0`, `encoder.block.${i}.layer.1`];
    return {
      [`${attention}.layer_norm.weight`]: [d],
      [`${attention}.SelfAttention.q.weight`]: [inner, d],
      [`${attention}.SelfAttention.k.weight`]: [inner, d],
      [`${attention}.SelfAttention.v.weight`]: [inner, d],
      [`${attention}.SelfAttention.o.weight`]: [d, inner],
      [`${feedForward}.layer_norm.weight`]: [d],
      ...(config.feedForward === "relu"
        ? { [`${feedForward}.DenseReluDense.wi.weight`]: [f, d] }
        : {
            [`${feedForward}.DenseReluDense.wi_0.weight`]: [f, d],
            [`${feedForward}.DenseReluDense.wi_1.weight`]: [f, d],
          }),
      [`${feedForward}.DenseReluDense.wo.weight`]: [d, f],
    };
  };
  return {
    "shared.weight": [config.vocabulary, d],
    [relativeBias]: [config.buckets, heads],
    ...Object.assign({}, ...Array.from({ length: config.depth }, (_, i) => block(i))),
    "encoder.final_layer_norm.weight": [d],
  };
}

/** Initial weights: T5's normal distributions, norms 1. */
export function initT5(config: T5Config, random: Random): Parameters {
  const { width: d, heads, headWidth, hiddenWidth } = config;
  const deviations: readonly (readonly [RegExp, number])[] = [
    [/^shared/, 1],
    [/\.q\.weight$/, (d * headWidth) ** -0.5], // makes up for attention without a scale
    [/\.o\.weight$/, (heads * headWidth) ** -0.5],
    [/\.wo\.weight$/, hiddenWidth ** -0.5],
    [/./, d ** -0.5],
  ];
  return Object.fromEntries(
    Object.entries(t5Shapes(config)).map(([name, shape]) => {
      if (name.endsWith("layer_norm.weight")) return [name, constant(shape, 1)];
      const [, deviation] = deviations.find(([pattern]) => pattern.test(name))!;
      return [name, normal(random, shape, deviation)];
    }),
  );
}

/** The tokens after a block. Those that come after it are not run. */
export function applyT5(
  config: T5Config,
  params: TensorParameters,
  { ids, visible }: Pick<TextBatch, "ids" | "visible">,
  { layer, norm }: TextLayer,
): TextOutputs {
  const bias = add(positionBias(config, params, ids.shape[1]!), visible); // (N, H, T, T)
  let x = gather(weightOf(params, "shared.weight"), ids) as Tensor; // (N, T, D)
  for (let i = 0; i <= layer; i++) x = block(config, params, `encoder.block.${i}`, x, bias);
  return { tokens: norm ? rmsNorm(params, "encoder.final_layer_norm", x, config.eps) : x };
}

const names = { query: "q", key: "k", value: "v", output: "o" } as const;

function block(
  { heads, eps, feedForward }: T5Config,
  params: TensorParameters,
  name: string,
  x: Tensor,
  bias: Tensor,
): Tensor {
  const attention = `${name}.layer.0`;
  const normed = rmsNorm(params, `${attention}.layer_norm`, x, eps);
  const options = { names, heads, bias, scale: 1 };
  const mixed = add(x, textAttention(params, `${attention}.SelfAttention`, normed, options));
  const dense = `${name}.layer.1.DenseReluDense`;
  const y = rmsNorm(params, `${name}.layer.1.layer_norm`, mixed, eps);
  const hidden =
    feedForward === "relu"
      ? relu(linear(params, `${dense}.wi`, y))
      : mul(gelu(linear(params, `${dense}.wi_0`, y), "tanh"), linear(params, `${dense}.wi_1`, y));
  return add(mixed, linear(params, `${dense}.wo`, hidden));
}

/** (1, H, T, T): what each head adds for the distance from query to key, the same in all blocks. */
function positionBias(
  { heads, buckets, maxDistance }: T5Config,
  params: TensorParameters,
  t: number,
) {
  const indices = Int32Array.from({ length: t * t }, (_, i) =>
    relativeBucket((i % t) - Math.floor(i / t), { buckets, maxDistance }),
  );
  const picked = gather(weightOf(params, relativeBias), tensor(indices, [t * t], "int32")); // (T T, H)
  return reshape(transpose(picked, [1, 0]), [1, heads, t, t]);
}

/**
 * The bucket of a key `distance` tokens after the query: half of them for either direction; of these half for one
 * distance each, and the others ever wider, up to `maxDistance`. Rounded as PyTorch's float32 does.
 */
function relativeBucket(
  distance: number,
  { buckets, maxDistance }: Pick<T5Config, "buckets" | "maxDistance">,
): number {
  const half = Math.floor(buckets / 2);
  const start = distance > 0 ? half : 0;
  const far = Math.abs(distance);
  const exact = Math.floor(half / 2);
  if (far < exact) return start + far;
  const log = Math.fround(Math.log(Math.fround(far / exact)));
  const share = Math.fround(log / Math.fround(Math.log(maxDistance / exact)));
  const wide = Math.trunc(Math.fround(share * (half - exact)));
  return start + Math.min(half - 1, exact + wide);
}

export function t5Model(config: T5Config): TextModel {
  return {
    width: config.width,
    depth: config.depth,
    vocabulary: config.vocabulary,
    maxLength: config.maxLength,
    fixedLength: false,
    endOf: () => 0,
    apply: (params, batch, layer) => applyT5(config, params, batch, layer),
  };
}
