/**
 * LightningDiT (Yao, Wang and Wang: "Reconstruction vs. Generation: Taming Optimization Dilemma in Latent Diffusion
 * Models", CVPR 2025), the class-conditional diffusion transformer that AlignTok trains.
 *
 * Upstream: hustvl/LightningDiT @ 2725fed, models/lightningdit.py. Parameters have its names and layout, so its
 * state dicts load as they are and ours load there. Differences: labels are dropped on the host (transport.ts), there is
 * no `learn_sigma`, and query-key normalisation comes with RMSNorm only, as in every released model.
 *
 * Letters: B batch, C latent channels, S side of the latent, p patch, T = (S/p)² tokens, W width, d head width.
 */
import {
  AlignTokError,
  check,
  type NdArray,
  ndarray,
  type Parameters,
  type Random,
  sizeOf,
} from "@aligntok/core";
import { layerNorm, rmsNorm, silu } from "@aligntok/jit";
import {
  constant,
  linear,
  mlp,
  normal,
  patchEmbed,
  rotaryTables,
  selfAttention,
  sincosPositions,
  swiGlu,
  type TensorParameters,
  timestepEmbedding,
  weightOf,
  xavierUniform,
} from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";

export interface LightningDitConfig {
  /** Side S of the latents, which are square; a multiple of `patchSize`. */
  readonly inputSize: number;
  /** Channels C of the latents. */
  readonly inChannels: number;
  /** Number of classes; label `classes` stands for "no class". */
  readonly classes: number;
  readonly depth: number;
  /** Channels of a token; a multiple of 4 and, with `rope`, of 4 `heads`. */
  readonly width: number;
  readonly heads: number;
  readonly patchSize: number;
  /** Hidden width of the feed-forward layers over `width`; SwiGLU takes two thirds of it. */
  readonly mlpRatio: number;
  /** RMS-normalises queries and keys: stable in long training, slightly worse in short. Needs `rmsNorm`. */
  readonly qkNorm: boolean;
  /** SwiGLU instead of a GELU feed-forward layer. */
  readonly swiglu: boolean;
  /** Rotary embeddings in attention, beside the fixed sinusoids at the input. */
  readonly rope: boolean;
  /** RMSNorm with weights instead of LayerNorm without. */
  readonly rmsNorm: boolean;
  /** Modulates by scales and gates only, no shifts. */
  readonly woShift: boolean;
}

/** The released configuration for 256-pixel ImageNet in VA-VAE or AlignTok latents, without its size. */
export const lightningDitDefaults = {
  inputSize: 16,
  inChannels: 32,
  classes: 1000,
  mlpRatio: 4,
  qkNorm: false,
  swiglu: true,
  rope: true,
  rmsNorm: true,
  woShift: false,
} as const satisfies Partial<LightningDitConfig>;

/** Upstream's sizes, to be spread over the defaults: `{ ...lightningDitDefaults, ...lightningDitSizes["XL/1"] }`. */
export const lightningDitSizes = {
  "B/1": { depth: 12, width: 768, heads: 12, patchSize: 1 },
  "B/2": { depth: 12, width: 768, heads: 12, patchSize: 2 },
  "L/2": { depth: 24, width: 1024, heads: 16, patchSize: 2 },
  "XL/1": { depth: 28, width: 1152, heads: 16, patchSize: 1 },
  "XL/2": { depth: 28, width: 1152, heads: 16, patchSize: 2 },
  "1p0B/1": { depth: 24, width: 1536, heads: 24, patchSize: 1 },
  "1p0B/2": { depth: 24, width: 1536, heads: 24, patchSize: 2 },
  "1p6B/1": { depth: 28, width: 1792, heads: 28, patchSize: 1 },
  "1p6B/2": { depth: 28, width: 1792, heads: 28, patchSize: 2 },
} as const satisfies Record<string, Partial<LightningDitConfig>>;

/** Of every norm. */
const EPS = 1e-6;

/** Names of what is stored with the weights but never trained: position tables. */
export function isFixedParameter(name: string): boolean {
  return name === "pos_embed" || name.startsWith("feat_rope.");
}

/** Names and shapes of all parameters and buffers in the order of upstream's state dict, without allocating them. */
export function lightningDitShapes(config: LightningDitConfig): Record<string, readonly number[]> {
  const { depth, width: w, heads, patchSize: p, inChannels: c } = checkLightningDitConfig(config);
  const tokens = (config.inputSize / p) ** 2;
  const headWidth = w / heads;
  const hidden = Math.trunc(w * config.mlpRatio);
  const gated = Math.trunc((2 / 3) * hidden);
  const affine = (name: string, out: number, input: number) => ({
    [`${name}.weight`]: [out, input],
    [`${name}.bias`]: [out],
  });
  const norm = (name: string, size: number) =>
    config.rmsNorm ? { [`${name}.weight`]: [size] } : {};

  const shapes: Record<string, readonly number[]> = {
    pos_embed: [1, tokens, w],
    "x_embedder.proj.weight": [w, c, p, p],
    "x_embedder.proj.bias": [w],
    ...affine("t_embedder.mlp.0", w, 256),
    ...affine("t_embedder.mlp.2", w, w),
    "y_embedder.embedding_table.weight": [config.classes + 1, w],
  };
  if (config.rope) {
    shapes["feat_rope.freqs_cos"] = [tokens, headWidth];
    shapes["feat_rope.freqs_sin"] = [tokens, headWidth];
  }
  for (let i = 0; i < depth; i++) {
    const block = `blocks.${i}`;
    Object.assign(shapes, {
      ...norm(`${block}.norm1`, w),
      ...norm(`${block}.norm2`, w),
      ...affine(`${block}.attn.qkv`, 3 * w, w),
      ...(config.qkNorm && norm(`${block}.attn.q_norm`, headWidth)),
      ...(config.qkNorm && norm(`${block}.attn.k_norm`, headWidth)),
      ...affine(`${block}.attn.proj`, w, w),
      ...(config.swiglu
        ? { ...affine(`${block}.mlp.w12`, 2 * gated, w), ...affine(`${block}.mlp.w3`, w, gated) }
        : { ...affine(`${block}.mlp.fc1`, hidden, w), ...affine(`${block}.mlp.fc2`, w, hidden) }),
      ...affine(`${block}.adaLN_modulation.1`, (config.woShift ? 4 : 6) * w, w),
    });
  }
  return Object.assign(shapes, {
    ...norm("final_layer.norm_final", w),
    ...affine("final_layer.linear", p * p * c, w),
    ...affine("final_layer.adaLN_modulation.1", 2 * w, w),
  });
}

/** Number of parameters as upstream counts them: with the fixed sinusoids, without the rotary tables. */
export function countLightningDit(config: LightningDitConfig): number {
  return Object.entries(lightningDitShapes(config))
    .filter(([name]) => !name.startsWith("feat_rope."))
    .reduce((sum, [, shape]) => sum + sizeOf(shape), 0);
}

/** Upstream's initial weights: the network starts as the constant 0, every block as the identity. */
export function initLightningDit(config: LightningDitConfig, random: Random): Parameters {
  const side = config.inputSize / config.patchSize;
  const params: Record<string, NdArray<"float32">> = {};
  for (const [name, shape] of Object.entries(lightningDitShapes(config))) {
    params[name] = initialValue(name, shape);
  }
  return params;

  function initialValue(name: string, shape: readonly number[]): NdArray<"float32"> {
    if (name === "pos_embed") {
      return ndarray(sincosPositions([side, side], config.width).data, shape);
    }
    if (name.startsWith("feat_rope.")) {
      const tables = rotaryTables([side, side], config.width / config.heads);
      return name.endsWith("cos") ? tables.cos : tables.sin;
    }
    if (name.includes("norm")) return constant(shape, 1);
    if (name.endsWith(".bias")) return constant(shape, 0);
    if (name.includes("adaLN_modulation") || name.startsWith("final_layer.")) {
      return constant(shape, 0);
    }
    if (name.startsWith("t_embedder.") || name.startsWith("y_embedder.")) {
      return normal(random, shape, 0.02);
    }
    // the patch convolution counts as a linear layer from C·p·p values
    return ndarray(xavierUniform(random, [shape[0]!, sizeOf(shape.slice(1))]).data, shape);
  }
}

/**
 * The velocity of latents at given times, inside a trace or eagerly.
 *
 * @param x (B, C, S, S) noisy latents
 * @param t (B) times in [0, 1]; 0 is noise
 * @param y (B) int32 labels in 0 ... classes, the last for "no class"
 * @returns (B, C, S, S)
 */
export function applyLightningDit(
  config: LightningDitConfig,
  params: TensorParameters,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
): tf.Tensor {
  const positions = weightOf(params, "pos_embed");
  let h = tf.add(patchEmbed(params, "x_embedder.proj", x, config.patchSize), positions); // (B,T,W)
  const c = silu(tf.add(embedTime(params, t), embedLabel(params, y))); // (B,W); every use starts with SiLU
  for (let i = 0; i < config.depth; i++) h = applyBlock(config, params, `blocks.${i}`, h, c);
  return unpatchify(config, applyFinalLayer(config, params, h, c)); // (B,C,S,S)
}

function embedTime(params: TensorParameters, t: tf.Tensor): tf.Tensor {
  const hidden = silu(linear(params, "t_embedder.mlp.0", timestepEmbedding(t))); // t itself, not 1000 t
  return linear(params, "t_embedder.mlp.2", hidden); // (B,W)
}

function embedLabel(params: TensorParameters, y: tf.Tensor): tf.Tensor {
  return tf.gather(weightOf(params, "y_embedder.embedding_table.weight"), y as tf.Tensor1D); // (B,W)
}

/** Attention and feed-forward, each modulated and gated by the condition c (B,W). h: (B,T,W) to the same. */
function applyBlock(
  config: LightningDitConfig,
  params: TensorParameters,
  name: string,
  h: tf.Tensor,
  c: tf.Tensor,
): tf.Tensor {
  const modulation = linear(params, `${name}.adaLN_modulation.1`, c); // (B, 6W), or (B, 4W) without shifts
  const count = config.woShift ? 4 : 6;
  const parts = tf.split(tf.reshape(modulation, [-1, count, config.width]), count, 1); // each (B,1,W)
  const [shift1, scale1, gate1, shift2, scale2, gate2] = config.woShift
    ? [undefined, parts[0]!, parts[1]!, undefined, parts[2]!, parts[3]!]
    : (parts as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]);
  const rotary = config.rope && {
    cos: weightOf(params, "feat_rope.freqs_cos"), // (T,d)
    sin: weightOf(params, "feat_rope.freqs_sin"),
  };

  const attended = selfAttention(
    params,
    `${name}.attn`,
    modulatedNorm(config, params, `${name}.norm1`, h, scale1, shift1),
    { heads: config.heads, qkNorm: config.qkNorm, ...(rotary && { rotary }) },
  );
  const mid = tf.add(h, tf.mul(gate1, attended));
  const input = modulatedNorm(config, params, `${name}.norm2`, mid, scale2, shift2);
  const fed = config.swiglu
    ? swiGlu(params, `${name}.mlp`, input)
    : mlp(params, `${name}.mlp`, input, { gelu: "tanh" });
  return tf.add(mid, tf.mul(gate2, fed));
}

function applyFinalLayer(
  config: LightningDitConfig,
  params: TensorParameters,
  h: tf.Tensor,
  c: tf.Tensor,
): tf.Tensor {
  const modulation = linear(params, "final_layer.adaLN_modulation.1", c); // (B, 2W)
  const [shift, scale] = tf.split(tf.reshape(modulation, [-1, 2, config.width]), 2, 1);
  const normed = modulatedNorm(config, params, "final_layer.norm_final", h, scale!, shift);
  return linear(params, "final_layer.linear", normed); // (B,T,p·p·C)
}

/**
 * The norm of x (B,T,W), times 1 + scale, plus shift, both (B,1,W). The norm's own weight is multiplied into the scale,
 * which has fewer elements than x.
 */
function modulatedNorm(
  config: LightningDitConfig,
  params: TensorParameters,
  name: string,
  x: tf.Tensor,
  scale: tf.Tensor,
  shift: tf.Tensor | undefined,
): tf.Tensor {
  const factor = tf.add(scale, 1);
  const scaled = config.rmsNorm
    ? tf.mul(rmsNorm(x, undefined, EPS), tf.mul(factor, weightOf(params, `${name}.weight`)))
    : tf.mul(layerNorm(x, undefined, undefined, EPS), factor);
  return shift ? tf.add(scaled, shift) : scaled;
}

/** (B, T, p·p·C), the channel running fastest, to (B, C, S, S). */
function unpatchify(config: LightningDitConfig, x: tf.Tensor): tf.Tensor {
  const { inChannels: c, inputSize, patchSize: p } = config;
  const side = inputSize / p;
  const grid = tf.reshape(x, [-1, side, side, p, p, c]); // (B, row, column, y, x, C)
  const image = tf.transpose(grid, [0, 5, 1, 3, 2, 4]); // (B, C, row, y, column, x)
  return tf.reshape(image, [-1, c, inputSize, inputSize]);
}

/**
 * Returns the configuration when it is possible; a file's, say.
 *
 * @throws AlignTokError `bad-input` naming the field.
 */
export function checkLightningDitConfig(config: LightningDitConfig): LightningDitConfig {
  const sizes = ["inputSize", "inChannels", "classes", "depth", "width", "heads", "patchSize"];
  for (const name of sizes as (keyof LightningDitConfig)[]) {
    const value = config[name];
    check(
      Number.isSafeInteger(value) && (value as number) > 0,
      () => `LightningDiT config ${name}: expected a positive whole number, got ${value}`,
    );
  }
  for (const name of ["qkNorm", "swiglu", "rope", "rmsNorm", "woShift"] as const) {
    check(
      typeof config[name] === "boolean",
      () => `LightningDiT config ${name}: expected true or false, got ${config[name]}`,
    );
  }
  const { inputSize, patchSize, width, heads, mlpRatio } = config;
  // ten times the deepest known model: a damaged file must not make us list a billion names
  check(
    config.depth <= 1000,
    () => `LightningDiT config depth: expected at most 1000, got ${config.depth}`,
  );
  check(
    Number.isFinite(mlpRatio) && width * mlpRatio >= 2,
    () => `LightningDiT config mlpRatio: expected a positive number, got ${mlpRatio}`,
  );
  check(
    inputSize % patchSize === 0,
    () =>
      `LightningDiT config inputSize: expected a multiple of patch ${patchSize}, got ${inputSize}`,
  );
  const unit = config.rope ? 4 * heads : heads;
  check(
    width % 4 === 0 && width % unit === 0,
    () => `LightningDiT config width: expected a multiple of 4 and of ${unit}, got ${width}`,
  );
  if (config.qkNorm && !config.rmsNorm) {
    throw new AlignTokError(
      "unsupported",
      "LightningDiT config qkNorm: expected rmsNorm with it, got LayerNorm. set rmsNorm to true",
    );
  }
  return config;
}
