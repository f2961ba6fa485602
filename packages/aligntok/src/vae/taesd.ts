/**
 * The tiny autoencoders, distilled from those of Stable Diffusion and FLUX: TAESD, TAESDXL, TAESD3, TAEF1, TAEF2.
 *
 * Upstream: madebyollin/taesd at 5cccb12, `taesd.py`. Difference: images are in [-1, 1] here, as in diffusers.
 * Keys: `encoder.N.*` and `decoder.N.*`, as upstream, where N counts the layers of a `Sequential`.
 *
 * N images, H x W pixels, d channels of the latent, h x w = H/8 x W/8, C = 64 channels inside.
 */
import type { Parameters, Random } from "@aligntok/core";
import { conv2d, groupNorm, type TensorParameters, upsampleConv2d } from "@aligntok/nn";
import { add, mul, relu, scalar, sub, type Tensor, tanh } from "@tensorflow/tfjs-core";
import { createShapeList, initConvolutional, type Shapes } from "../blocks.ts";

export interface TinyAutoencoderConfig {
  /** Channels d of the latent. */
  readonly latent: number;
  /** Channels inside. @default 64 */
  readonly channels?: number;
  /** Whether blocks of the lowest resolution begin with a normalised branch over the whole image. @default false */
  readonly pooled?: boolean;
}

/** The published ones; the three of one shape differ in their weights only. */
export const tinyAutoencoderModels = {
  taesd: { latent: 4 },
  taesdxl: { latent: 4 },
  taesd3: { latent: 16 },
  taef1: { latent: 16 },
  taef2: { latent: 32, pooled: true },
} as const satisfies Record<string, TinyAutoencoderConfig>;

/** Pixels of the image per latent position, along each side. */
export const tinyStride = 8;

/** One layer of a `Sequential`, and from how many channels to how many. */
type Layer =
  | {
      readonly kind: "conv";
      readonly channels: readonly [number, number];
      readonly stride?: number;
      readonly bias?: boolean;
    }
  | { readonly kind: "block"; readonly width: number; readonly pooled: boolean }
  | { readonly kind: "clamp" | "relu" | "upsample" };

function encoderLayers({ latent, channels: c = 64, pooled = false }: TinyAutoencoderConfig) {
  const block: Layer = { kind: "block", width: c, pooled: false };
  const down: Layer = { kind: "conv", channels: [c, c], stride: 2, bias: false };
  const last = { ...block, pooled };
  return [
    { kind: "conv", channels: [3, c] },
    ...[block, down, block, block, block, down, block, block, block, down, last, last, last],
    { kind: "conv", channels: [c, latent] },
  ] satisfies Layer[];
}

function decoderLayers({ latent, channels: c = 64, pooled = false }: TinyAutoencoderConfig) {
  const block: Layer = { kind: "block", width: c, pooled: false };
  const first = { ...block, pooled };
  const up: Layer[] = [{ kind: "upsample" }, { kind: "conv", channels: [c, c], bias: false }];
  return [
    { kind: "clamp" },
    { kind: "conv", channels: [latent, c] },
    { kind: "relu" },
    ...[first, first, first, ...up, block, block, block, ...up, block, block, block, ...up, block],
    { kind: "conv", channels: [c, 3] },
  ] satisfies Layer[];
}

/** Name and shape of every weight. */
export function tinyAutoencoderShapes(config: TinyAutoencoderConfig): Shapes {
  return {
    ...shapesOf("encoder", encoderLayers(config)),
    ...shapesOf("decoder", decoderLayers(config)),
  };
}

function shapesOf(part: string, layers: readonly Layer[]): Shapes {
  const { shapes, layer, conv, weight } = createShapeList();
  for (const [index, entry] of layers.entries()) {
    const name = `${part}.${index}`;
    if (entry.kind === "conv") {
      const [input, output] = entry.channels;
      if (entry.bias === false) weight(name, [output, input, 3, 3]);
      else conv(name, input, output, 3);
    } else if (entry.kind === "block") {
      const { width: c } = entry;
      for (const i of [0, 2, 4]) conv(`${name}.conv.${i}`, c, c, 3);
      if (!entry.pooled) continue;
      weight(`${name}.pool.0`, [4 * c, c, 1, 1]);
      layer(`${name}.pool.1`, [4 * c]);
      weight(`${name}.pool.3`, [c, 4 * c, 1, 1]);
    }
  }
  return shapes;
}

/** Weights as PyTorch's Conv2d and GroupNorm start. */
export function initTinyAutoencoder(config: TinyAutoencoderConfig, random: Random): Parameters {
  return initConvolutional(tinyAutoencoderShapes(config), random);
}

/** Images `(N, 3, H, W)` in [-1, 1] to latents `(N, d, h, w)`, mostly within [-3, 3]. */
export function applyTinyEncoder(
  config: TinyAutoencoderConfig,
  params: TensorParameters,
  images: Tensor,
): Tensor {
  const x = mul(add(images, scalar(1)), scalar(0.5)); // [0, 1]
  return applyLayers("encoder", encoderLayers(config), params, x);
}

/** Latents `(N, d, h, w)` to images `(N, 3, H, W)`, nominally in [-1, 1]. */
export function applyTinyDecoder(
  config: TinyAutoencoderConfig,
  params: TensorParameters,
  latents: Tensor,
): Tensor {
  const x = applyLayers("decoder", decoderLayers(config), params, latents); // [0, 1]
  return sub(mul(x, scalar(2)), scalar(1));
}

function applyLayers(
  part: string,
  layers: readonly Layer[],
  params: TensorParameters,
  input: Tensor,
): Tensor {
  let x = input;
  for (const [index, layer] of layers.entries()) {
    const name = `${part}.${index}`;
    if (layer.kind === "clamp") x = mul(tanh(mul(x, scalar(1 / 3))), scalar(3));
    else if (layer.kind === "relu") x = relu(x);
    else if (layer.kind === "block") {
      x = block(params, name, layer.pooled ? addPooled(params, name, x) : x);
    } else if (layer.kind === "conv") {
      const follows = layers[index - 1]?.kind === "upsample"; // which is done in one with it
      x = follows
        ? upsampleConv2d(params, name, x)
        : conv2d(params, name, x, { stride: layer.stride ?? 1, padding: 1 });
    }
  }
  return x;
}

function block(params: TensorParameters, name: string, x: Tensor): Tensor {
  let h = relu(conv2d(params, `${name}.conv.0`, x, { padding: 1 }));
  h = relu(conv2d(params, `${name}.conv.2`, h, { padding: 1 }));
  h = conv2d(params, `${name}.conv.4`, h, { padding: 1 });
  return relu(add(h, x));
}

/** A branch normalised over the whole image, which carries its statistics to each position. */
function addPooled(params: TensorParameters, name: string, x: Tensor): Tensor {
  const wide = conv2d(params, `${name}.pool.0`, x); // (N, 4C, h, w)
  const normal = relu(groupNorm(params, `${name}.pool.1`, wide, { groups: 4, eps: 1e-5 }));
  return add(x, conv2d(params, `${name}.pool.3`, normal)); // (N, C, h, w)
}
