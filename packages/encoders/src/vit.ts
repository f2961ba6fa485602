/**
 * Vision transformers: ViT, DeiT and DINOv2.
 *
 * Papers: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; Oquab et al., "DINOv2", 2023;
 * Darcet et al., "Vision Transformers Need Registers", 2024. Upstream: huggingface/pytorch-image-models
 * (vision_transformer.py) and facebookresearch/dinov2 at b8931f7, whose parameter names are used here.
 * Differences: none in the numbers; position embeddings are resampled on the host, before the graph,
 * and there is no dropout.
 *
 * Letters: N images, H W pixels, p patch side, T = H/p * W/p patches, R registers, D width.
 */
import { check, type Parameters, type Random, zeros } from "@aligntok/core";
import {
  constant,
  layerNorm,
  layerScale,
  linear,
  mlp,
  patchEmbed,
  selfAttention,
  swiGlu,
  type TensorParameters,
  truncatedNormal,
  weightOf,
} from "@aligntok/nn";
import { add, concat, slice, squeeze, type Tensor, tile } from "@tensorflow/tfjs-core";
import type { PositionResampling } from "./position-embedding.ts";

export type ViTConfig = Readonly<{
  /** Side of a patch in pixels. */
  patchSize: number;
  /** Side in pixels of the square images whose grid the stored position embeddings describe. */
  imageSize: number;
  width: number;
  depth: number;
  heads: number;
  feedForward: "mlp" | "swiglu";
  /** Hidden channels of the feed-forward network; of each half for SwiGLU. */
  hiddenWidth: number;
  /** Whether queries, keys and values have a bias. */
  qkvBias: boolean;
  /** Whether the branches of a block end in a learned scale per channel. */
  layerScale: boolean;
  /** Number of register tokens between the class token and the patches. */
  registers: number;
  /** Epsilon of every LayerNorm. */
  eps: number;
  /** Classes of the classifier on the class token; 0 for none. */
  classes: number;
  /** Of each colour, for pixels in [0, 1]. */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  /** How position embeddings are fitted to another grid. */
  positionResampling: PositionResampling;
}>;

export type ViTModel = keyof typeof vitModels;

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** Known models by their names in timm (ViT) and on PyTorch Hub (DINOv2). */
export const vitModels = {
  vit_tiny_patch16_224: vit(192, 12, 3),
  vit_small_patch16_224: vit(384, 12, 6),
  vit_base_patch16_224: vit(768, 12, 12),
  vit_large_patch16_224: vit(1024, 24, 16),
  dinov2_vits14: dinov2(384, 12, 6, 0),
  dinov2_vitb14: dinov2(768, 12, 12, 0),
  dinov2_vitl14: dinov2(1024, 24, 16, 0),
  dinov2_vitg14: dinov2(1536, 40, 24, 0, 4096),
  dinov2_vits14_reg: dinov2(384, 12, 6, 4),
  dinov2_vitb14_reg: dinov2(768, 12, 12, 4),
  dinov2_vitl14_reg: dinov2(1024, 24, 16, 4),
  dinov2_vitg14_reg: dinov2(1536, 40, 24, 4, 4096),
} as const;

function vit(width: number, depth: number, heads: number): ViTConfig {
  return {
    patchSize: 16,
    imageSize: 224,
    width,
    depth,
    heads,
    feedForward: "mlp",
    hiddenWidth: 4 * width,
    qkvBias: true,
    layerScale: false,
    registers: 0,
    eps: 1e-6,
    classes: 1000,
    ...half,
    positionResampling: "timm",
  };
}

function dinov2(
  width: number,
  depth: number,
  heads: number,
  registers: number,
  swiGluWidth?: number,
): ViTConfig {
  return {
    ...vit(width, depth, heads),
    patchSize: 14,
    imageSize: 518,
    feedForward: swiGluWidth ? "swiglu" : "mlp",
    hiddenWidth: swiGluWidth ?? 4 * width,
    layerScale: true,
    registers,
    classes: 0,
    ...imagenet,
    // upstream resamples the models with registers by size and with antialiasing, which is timm's way
    positionResampling: registers ? "timm" : "dinov2",
  };
}

/** Name and shape of every parameter, in calling order. */
export function vitShapes(config: ViTConfig): Readonly<Record<string, readonly number[]>> {
  const { width: d, hiddenWidth: h, patchSize: p } = config;
  const layer = (name: string, out: number, input: number, bias = true) => ({
    [`${name}.weight`]: [out, input],
    ...(bias && { [`${name}.bias`]: [out] }),
  });
  const norm = (name: string) => ({ [`${name}.weight`]: [d], [`${name}.bias`]: [d] });
  const block = (name: string) => ({
    ...norm(`${name}.norm1`),
    ...layer(`${name}.attn.qkv`, 3 * d, d, config.qkvBias),
    ...layer(`${name}.attn.proj`, d, d),
    ...(config.layerScale && { [`${name}.ls1.gamma`]: [d] }),
    ...norm(`${name}.norm2`),
    ...(config.feedForward === "swiglu"
      ? { ...layer(`${name}.mlp.w12`, 2 * h, d), ...layer(`${name}.mlp.w3`, d, h) }
      : { ...layer(`${name}.mlp.fc1`, h, d), ...layer(`${name}.mlp.fc2`, d, h) }),
    ...(config.layerScale && { [`${name}.ls2.gamma`]: [d] }),
  });
  return {
    "patch_embed.proj.weight": [d, 3, p, p],
    "patch_embed.proj.bias": [d],
    cls_token: [1, 1, d],
    ...(config.registers && { register_tokens: [1, config.registers, d] }),
    pos_embed: [1, 1 + Math.floor(config.imageSize / p) ** 2, d],
    ...Object.assign({}, ...Array.from({ length: config.depth }, (_, i) => block(`blocks.${i}`))),
    ...norm("norm"),
    ...(config.classes && layer("head", config.classes, d)),
  };
}

/** Initial weights: timm's truncated normal of 0.02, biases 0, norms and layer scales 1. */
export function initViT(config: ViTConfig, random: Random): Parameters {
  return Object.fromEntries(
    Object.entries(vitShapes(config)).map(([name, shape]) => {
      if (name.endsWith(".bias")) return [name, zeros(shape)];
      if (/norm\d?\.weight$|\.gamma$/.test(name)) return [name, constant(shape, 1)];
      return [name, truncatedNormal(random, shape, 0.02)];
    }),
  );
}

/**
 * The tokens after the final LayerNorm: class token, registers, patches row by row.
 *
 * @param x normalised images (N, 3, H, W); `pos_embed` must be the one for this grid (`resamplePositions`).
 * @returns (N, 1 + R + T, D)
 */
export function applyViT(config: ViTConfig, params: TensorParameters, x: Tensor): Tensor {
  let tokens = embed(config, params, x); // (N, 1+R+T, D)
  for (let i = 0; i < config.depth; i++) tokens = block(config, params, `blocks.${i}`, tokens);
  return layerNorm(params, "norm", tokens, config.eps);
}

/**
 * The tokens after the given blocks (0 is the first), without the final LayerNorm, for perceptual losses
 * and probes. Blocks after the last one asked for are not run.
 *
 * @returns one (N, 1 + R + T, D) for each index, in the order given
 */
export function applyViTLayers(
  config: ViTConfig,
  params: TensorParameters,
  x: Tensor,
  layers: readonly number[],
): Tensor[] {
  const valid = layers.every((i) => Number.isInteger(i) && i >= 0 && i < config.depth);
  check(valid, () => `layers: expected whole numbers from 0 to ${config.depth - 1}, got ${layers}`);
  const outputs: Tensor[] = [];
  let tokens = embed(config, params, x); // (N, 1+R+T, D)
  for (let i = 0; i <= Math.max(...layers); i++) {
    tokens = block(config, params, `blocks.${i}`, tokens);
    outputs.push(tokens);
  }
  return layers.map((i) => outputs[i]!);
}

/** Class logits (N, classes) of the tokens that `applyViT` gave. */
export function applyViTHead(params: TensorParameters, tokens: Tensor): Tensor {
  const [n, , d] = tokens.shape as [number, number, number];
  const classToken = squeeze(slice(tokens, [0, 0, 0], [n, 1, d]), [1]); // (N, D)
  return linear(params, "head", classToken);
}

function embed(config: ViTConfig, params: TensorParameters, x: Tensor): Tensor {
  const patches = patchEmbed(params, "patch_embed.proj", x, config.patchSize); // (N, T, D)
  const [n, t] = patches.shape as [number, number, number];
  const positions = weightOf(params, "pos_embed");
  check(
    positions.shape[1] === 1 + t,
    () =>
      `pos_embed: expected ${1 + t} rows for images of ${x.shape[2]}x${x.shape[3]}, got ${positions.shape[1]}. call resamplePositions for that grid`,
  );
  const classTokens = tile(weightOf(params, "cls_token"), [n, 1, 1]);
  const tokens = add(concat([classTokens, patches], 1), positions); // (N, 1+T, D)
  if (!config.registers) return tokens;
  const { width } = config;
  const registers = tile(weightOf(params, "register_tokens"), [n, 1, 1]); // they have no position
  return concat(
    [slice(tokens, [0, 0, 0], [n, 1, width]), registers, slice(tokens, [0, 1, 0], [n, t, width])],
    1,
  ); // (N, 1+R+T, D)
}

function block(config: ViTConfig, params: TensorParameters, name: string, x: Tensor): Tensor {
  const { heads, eps } = config;
  const normed = layerNorm(params, `${name}.norm1`, x, eps);
  const attended = selfAttention(params, `${name}.attn`, normed, { heads });
  const mixed = add(x, layerScale(params, `${name}.ls1`, attended));
  const feedForward = config.feedForward === "swiglu" ? swiGlu : mlp;
  const output = feedForward(params, `${name}.mlp`, layerNorm(params, `${name}.norm2`, mixed, eps));
  return add(mixed, layerScale(params, `${name}.ls2`, output));
}
