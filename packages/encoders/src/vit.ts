/**
 * One vision transformer for every family: ViT, MAE, DINOv2, DINOv3, CLIP and SigLIP are configurations of it.
 *
 * Papers: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; He et al., "Masked Autoencoders", 2022; Oquab
 * et al., "DINOv2", 2023; Darcet et al., "Registers", 2024; Simeoni et al., "DINOv3", 2025; Radford et al., "CLIP",
 * 2021; Zhai et al., "SigLIP", 2023. Upstream: huggingface/pytorch-image-models and facebookresearch/dinov2 at
 * b8931f7, whose parameter names are used here (the projection of CLIP is `projection`).
 * Differences: none in the numbers; learned positions are resampled on the host, before the graph, and there is no
 * dropout.
 *
 * Letters: N images, H W pixels, p patch side, T = H/p * W/p patches, C class tokens (0 or 1), R registers, D width.
 */
import {
  check,
  heightAndWidth,
  type Parameters,
  type PixelSize,
  type Random,
  zeros,
} from "@aligntok/core";
import type { ImageTransform } from "@aligntok/image";
import { checkpoint } from "@aligntok/jit";
import {
  centeredRotaryTables,
  constant,
  constantTensor,
  layerNorm,
  layerScale,
  linear,
  type MlpOptions,
  mlp,
  patchEmbed,
  type RotaryTensors,
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
  /** Of the images whose grid the stored position embeddings describe. */
  imageSize: PixelSize;
  width: number;
  depth: number;
  heads: number;
  feedForward: "mlp" | "swiglu";
  /** Hidden channels of the feed-forward network; of each half for SwiGLU. */
  hiddenWidth: number;
  /** Activation of the MLP. */
  gelu: NonNullable<MlpOptions["gelu"]>;
  /** Whether the patch embedding has a bias. */
  patchBias: boolean;
  /** Whether queries, keys and values have a bias. */
  qkvBias: boolean;
  /** Whether the branches of a block end in a learned scale per channel. */
  layerScale: boolean;
  classToken: boolean;
  /** Number of register tokens between the class token and the patches. */
  registers: number;
  /** `rotary`: DINOv3's, on patches alone, for any grid; nothing is stored. */
  positions: "learned" | "rotary";
  /** Base of the periods of rotary positions. */
  ropeTheta: number;
  /** Whether a LayerNorm precedes the blocks. */
  preNorm: boolean;
  /** Epsilon of every LayerNorm. */
  eps: number;
  /** The model's own image embedding: CLIP's projection of the class token, SigLIP's attention pooling. */
  embedding: "none" | "projection" | "attention";
  /** Channels of the embedding; 0 for none. */
  embeddingWidth: number;
  /** Classes of the classifier on the class token; 0 for none. */
  classes: number;
  /** Of each colour, for pixels in [0, 1]. */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  /** How position embeddings are fitted to another grid. */
  positionResampling: PositionResampling;
  /** How the model's authors prepare an image. */
  transform: ImageTransform;
}>;

/** Tokens before the patches: the class token and registers. */
export function prefixTokens(config: Pick<ViTConfig, "classToken" | "registers">): number {
  return Number(config.classToken) + config.registers;
}

/** Rows and columns of the stored position embeddings: of whole patches. */
export function patchGrid({
  imageSize,
  patchSize,
}: Pick<ViTConfig, "imageSize" | "patchSize">): readonly [rows: number, columns: number] {
  const [height, width] = heightAndWidth(imageSize);
  return [Math.floor(height / patchSize), Math.floor(width / patchSize)];
}

/** Name and shape of every parameter, in calling order. */
export function vitShapes(config: ViTConfig): Readonly<Record<string, readonly number[]>> {
  const { width: d, hiddenWidth: h, patchSize: p, embeddingWidth: e } = config;
  const layer = (name: string, out: number, input: number, bias = true) => ({
    [`${name}.weight`]: [out, input],
    ...(bias && { [`${name}.bias`]: [out] }),
  });
  const norm = (name: string) => ({ [`${name}.weight`]: [d], [`${name}.bias`]: [d] });
  const mlpLayers = (name: string) => ({
    ...layer(`${name}.fc1`, h, d),
    ...layer(`${name}.fc2`, d, h),
  });
  const block = (name: string) => ({
    ...norm(`${name}.norm1`),
    ...layer(`${name}.attn.qkv`, 3 * d, d, config.qkvBias),
    ...layer(`${name}.attn.proj`, d, d),
    ...(config.layerScale && { [`${name}.ls1.gamma`]: [d] }),
    ...norm(`${name}.norm2`),
    ...(config.feedForward === "swiglu"
      ? { ...layer(`${name}.mlp.w12`, 2 * h, d), ...layer(`${name}.mlp.w3`, d, h) }
      : mlpLayers(`${name}.mlp`)),
    ...(config.layerScale && { [`${name}.ls2.gamma`]: [d] }),
  });
  const [rows, columns] = patchGrid(config);
  const positions = Number(config.classToken) + rows * columns;
  return {
    "patch_embed.proj.weight": [d, 3, p, p],
    ...(config.patchBias && { "patch_embed.proj.bias": [d] }),
    ...(config.classToken && { cls_token: [1, 1, d] }),
    ...(config.registers && { register_tokens: [1, config.registers, d] }),
    ...(config.positions === "learned" && { pos_embed: [1, positions, d] }),
    ...(config.preNorm && norm("norm_pre")),
    ...Object.assign({}, ...Array.from({ length: config.depth }, (_, i) => block(`blocks.${i}`))),
    ...norm("norm"),
    ...(config.embedding === "projection" && layer("projection", e, d, false)),
    ...(config.embedding === "attention" && {
      "attn_pool.latent": [1, 1, d],
      ...layer("attn_pool.q", d, d),
      ...layer("attn_pool.kv", 2 * d, d),
      ...layer("attn_pool.proj", d, d),
      ...norm("attn_pool.norm"),
      ...mlpLayers("attn_pool.mlp"),
    }),
    ...(config.classes && layer("head", config.classes, d)),
  };
}

/** Initial weights: timm's truncated normal of 0.02, biases 0, norms and layer scales 1. */
export function initViT(config: ViTConfig, random: Random): Parameters {
  return Object.fromEntries(
    Object.entries(vitShapes(config)).map(([name, shape]) => {
      if (name.endsWith(".bias")) return [name, zeros(shape)];
      if (/norm(?:\d|_pre)?\.weight$|\.gamma$/.test(name)) return [name, constant(shape, 1)];
      return [name, truncatedNormal(random, shape, 0.02)];
    }),
  );
}

export interface ApplyViTOptions {
  /** Whether the final LayerNorm is applied. @default true */
  readonly norm?: boolean;
  /** Computes the values inside each block again for its gradient, in place of keeping them. @default false */
  readonly recompute?: boolean;
}

export interface ApplyViTLayersOptions extends ApplyViTOptions {
  /** Blocks whose outputs are wanted, counted from 0, negative from the end. Blocks after the last are not run. */
  readonly layers: readonly number[];
}

/**
 * The tokens of the last block, or of each of `layers`: class token, registers, patches row by row.
 *
 * @param x normalised images (N, 3, H, W); a learned `pos_embed` must be the one for this grid (`resamplePositions`).
 * @returns (N, C + R + T, D), or one for each of `layers` in the order given
 */
export function applyViT(
  config: ViTConfig,
  params: TensorParameters,
  x: Tensor,
  options?: ApplyViTOptions,
): Tensor;
export function applyViT(
  config: ViTConfig,
  params: TensorParameters,
  x: Tensor,
  options: ApplyViTLayersOptions,
): Tensor[];
export function applyViT(
  config: ViTConfig,
  params: TensorParameters,
  x: Tensor,
  { layers, norm = true, recompute = false }: ApplyViTOptions & Partial<ApplyViTLayersOptions> = {},
): Tensor | Tensor[] {
  const { depth, eps } = config;
  const wanted = (layers ?? [-1]).map((i) => (i < 0 ? i + depth : i));
  check(
    wanted.length > 0 && wanted.every((i) => Number.isInteger(i) && i >= 0 && i < depth),
    () =>
      `layers: expected whole numbers from 0 to ${depth - 1}, or ${-depth} to -1, got ${layers}`,
  );
  const rotary = rotaryOf(config, x);
  const outputs: Tensor[] = [];
  const applyBlock = recompute ? checkpoint(block) : block;
  let tokens = embed(config, params, x); // (N, C+R+T, D)
  for (let i = 0; i <= Math.max(...wanted); i++) {
    tokens = applyBlock(config, params, `blocks.${i}`, tokens, rotary);
    outputs.push(tokens);
  }
  const results = wanted.map((i) =>
    norm ? layerNorm(params, "norm", outputs[i]!, eps) : outputs[i]!,
  );
  return layers ? results : results[0]!;
}

/** `applyViT` of some layers without the final LayerNorm, for perceptual losses and probes. */
export function applyViTLayers(
  config: ViTConfig,
  params: TensorParameters,
  x: Tensor,
  layers: readonly number[],
): Tensor[] {
  return applyViT(config, params, x, { layers, norm: false });
}

/** Class logits (N, classes) of the tokens that `applyViT` gave. */
export function applyViTHead(params: TensorParameters, tokens: Tensor): Tensor {
  return linear(params, "head", firstToken(tokens));
}

/** (N, D), of the class token. */
export function firstToken(tokens: Tensor): Tensor {
  const [n, , d] = tokens.shape as [number, number, number];
  return squeeze(slice(tokens, [0, 0, 0], [n, 1, d]), [1]); // (N, D)
}

function rotaryOf(config: ViTConfig, x: Tensor): RotaryTensors | undefined {
  if (config.positions !== "rotary") return undefined;
  const { patchSize, width, heads, ropeTheta: theta } = config;
  const grid = [x.shape[2]! / patchSize, x.shape[3]! / patchSize] as const;
  const prefix = prefixTokens(config);
  const { cos, sin } = centeredRotaryTables(grid, width / heads, { theta, prefix });
  return { cos: constantTensor(cos), sin: constantTensor(sin), halves: true };
}

function embed(config: ViTConfig, params: TensorParameters, x: Tensor): Tensor {
  const patches = patchEmbed(params, "patch_embed.proj", x, config.patchSize); // (N, T, D)
  const [n, t, width] = patches.shape as [number, number, number];
  const own = Number(config.classToken);
  let tokens = patches;
  if (own) tokens = concat([tile(weightOf(params, "cls_token"), [n, 1, 1]), patches], 1);
  if (config.positions === "learned") {
    const positions = weightOf(params, "pos_embed");
    check(
      positions.shape[1] === own + t,
      () =>
        `pos_embed: expected ${own + t} rows for images of ${x.shape[2]}x${x.shape[3]}, got ${positions.shape[1]}. call resamplePositions for that grid`,
    );
    tokens = add(tokens, positions); // (N, C+T, D)
  }
  if (config.registers) {
    const registers = tile(weightOf(params, "register_tokens"), [n, 1, 1]); // they have no position
    const first = own ? [slice(tokens, [0, 0, 0], [n, 1, width])] : [];
    tokens = concat([...first, registers, slice(tokens, [0, own, 0], [n, t, width])], 1);
  }
  return config.preNorm ? layerNorm(params, "norm_pre", tokens, config.eps) : tokens; // (N, C+R+T, D)
}

function block(
  config: ViTConfig,
  params: TensorParameters,
  name: string,
  x: Tensor,
  rotary: RotaryTensors | undefined,
): Tensor {
  const { heads, eps, gelu } = config;
  const normed = layerNorm(params, `${name}.norm1`, x, eps);
  const attended = selfAttention(params, `${name}.attn`, normed, {
    heads,
    ...(rotary && { rotary }),
  });
  const mixed = add(x, layerScale(params, `${name}.ls1`, attended));
  const again = layerNorm(params, `${name}.norm2`, mixed, eps);
  const output =
    config.feedForward === "swiglu"
      ? swiGlu(params, `${name}.mlp`, again)
      : mlp(params, `${name}.mlp`, again, { gelu });
  return add(mixed, layerScale(params, `${name}.ls2`, output));
}
