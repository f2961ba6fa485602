/** The published models as data, and the names that they go by. */
import { AlignTokError, listSome } from "@aligntok/core";
import type { ImageTransform } from "@aligntok/image";
import type { ViTConfig } from "./vit.ts";

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
const clipStatistics = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;

type Size = readonly [width: number, depth: number, heads: number];
const tiny: Size = [192, 12, 3];
const small: Size = [384, 12, 6];
const base: Size = [768, 12, 12];
const large: Size = [1024, 24, 16];
const huge: Size = [1280, 32, 16];

function vit([width, depth, heads]: Size, patchSize = 16, imageSize = 224): ViTConfig {
  return {
    patchSize,
    imageSize,
    width,
    depth,
    heads,
    feedForward: "mlp",
    hiddenWidth: 4 * width,
    gelu: "none",
    patchBias: true,
    qkvBias: true,
    layerScale: false,
    classToken: true,
    registers: 0,
    positions: "learned",
    ropeTheta: 100,
    preNorm: false,
    eps: 1e-6,
    embedding: "none",
    embeddingWidth: 0,
    classes: 1000,
    ...half,
    positionResampling: "timm",
    // timm: 0.9 of the side is kept at 224, all of it at 384
    transform: { resize: imageSize > 224 ? imageSize : 248, filter: "bicubic", crop: imageSize },
  };
}

const shortSide256: ImageTransform = { resize: 256, filter: "bicubic", crop: 224 };

function mae(size: Size, patchSize = 16): ViTConfig {
  return { ...vit(size, patchSize), classes: 0, ...imagenet, transform: shortSide256 };
}

function dinov2(size: Size, registers = 0, swiGluWidth?: number): ViTConfig {
  return {
    ...mae(size, 14),
    imageSize: 518,
    ...(swiGluWidth && { feedForward: "swiglu", hiddenWidth: swiGluWidth }),
    layerScale: true,
    registers,
    // upstream resamples the models with registers by size and with antialiasing, which is timm's way
    positionResampling: registers ? "timm" : "dinov2",
  };
}

function dinov3(size: Size, swiGluWidth?: number): ViTConfig {
  return {
    ...mae(size),
    ...(swiGluWidth && { feedForward: "swiglu", hiddenWidth: swiGluWidth }),
    layerScale: true,
    registers: 4,
    positions: "rotary",
    eps: 1e-5,
    transform: { resize: { height: 224, width: 224 }, filter: "bilinear" },
  };
}

function clip(size: Size, patchSize: number, embeddingWidth: number, imageSize = 224): ViTConfig {
  return {
    ...vit(size, patchSize, imageSize),
    gelu: "quick",
    patchBias: false,
    preNorm: true,
    eps: 1e-5,
    embedding: "projection",
    embeddingWidth,
    classes: 0,
    ...clipStatistics,
    transform: { resize: imageSize, filter: "bicubic", crop: imageSize },
  };
}

/** `filter`: SigLIP's own is bicubic, SigLIP 2's bilinear. */
function siglip(size: Size, patchSize: number, imageSize: number, filter: "bicubic" | "bilinear") {
  const [width] = size;
  return {
    ...vit(size, patchSize, imageSize),
    hiddenWidth: width === 1152 ? 4304 : 4 * width,
    gelu: "tanh",
    classToken: false,
    embedding: "attention",
    embeddingWidth: width,
    classes: 0,
    transform: { resize: { height: imageSize, width: imageSize }, filter },
  } satisfies ViTConfig;
}

const so400m: Size = [1152, 27, 16];
const siglip1 = (size: Size, patch: number, side: number) => siglip(size, patch, side, "bicubic");
const siglip2 = (size: Size, patch: number, side: number) => siglip(size, patch, side, "bilinear");

/**
 * Known models: ViT by timm's names, DINOv2 and DINOv3 by those of PyTorch Hub, MAE by those of its repository, CLIP and
 * SigLIP by the last part of their Hugging Face ids.
 */
export const vitModels = {
  vit_tiny_patch16_224: vit(tiny),
  vit_tiny_patch16_384: vit(tiny, 16, 384),
  vit_small_patch8_224: vit(small, 8),
  vit_small_patch16_224: vit(small),
  vit_small_patch16_384: vit(small, 16, 384),
  vit_small_patch32_224: vit(small, 32),
  vit_small_patch32_384: vit(small, 32, 384),
  vit_base_patch8_224: vit(base, 8),
  vit_base_patch16_224: vit(base),
  vit_base_patch16_384: vit(base, 16, 384),
  vit_base_patch32_224: vit(base, 32),
  vit_base_patch32_384: vit(base, 32, 384),
  vit_large_patch16_224: vit(large),
  vit_large_patch16_384: vit(large, 16, 384),
  vit_large_patch32_384: vit(large, 32, 384),
  mae_vit_base_patch16: mae(base),
  mae_vit_large_patch16: mae(large),
  mae_vit_huge_patch14: mae(huge, 14),
  dinov2_vits14: dinov2(small),
  dinov2_vitb14: dinov2(base),
  dinov2_vitl14: dinov2(large),
  dinov2_vitg14: dinov2([1536, 40, 24], 0, 4096),
  dinov2_vits14_reg: dinov2(small, 4),
  dinov2_vitb14_reg: dinov2(base, 4),
  dinov2_vitl14_reg: dinov2(large, 4),
  dinov2_vitg14_reg: dinov2([1536, 40, 24], 4, 4096),
  dinov3_vits16: dinov3(small),
  dinov3_vits16plus: dinov3(small, 1536),
  dinov3_vitb16: dinov3(base),
  dinov3_vitl16: dinov3(large),
  dinov3_vith16plus: dinov3([1280, 32, 20], 5120),
  dinov3_vit7b16: { ...dinov3([4096, 40, 32], 8192), qkvBias: false },
  "clip-vit-base-patch32": clip(base, 32, 512),
  "clip-vit-base-patch16": clip(base, 16, 512),
  "clip-vit-large-patch14": clip(large, 14, 768),
  "clip-vit-large-patch14-336": clip(large, 14, 768, 336),
  "siglip-base-patch16-224": siglip1(base, 16, 224),
  "siglip-base-patch16-256": siglip1(base, 16, 256),
  "siglip-base-patch16-384": siglip1(base, 16, 384),
  "siglip-base-patch16-512": siglip1(base, 16, 512),
  "siglip-large-patch16-256": siglip1(large, 16, 256),
  "siglip-large-patch16-384": siglip1(large, 16, 384),
  "siglip-so400m-patch14-224": siglip1(so400m, 14, 224),
  // 384 = 27 * 14 + 6: the last pixels are in no patch
  "siglip-so400m-patch14-384": siglip1(so400m, 14, 384),
  "siglip-so400m-patch16-256-i18n": siglip1(so400m, 16, 256),
  "siglip2-base-patch16-224": siglip2(base, 16, 224),
  "siglip2-base-patch16-256": siglip2(base, 16, 256),
  "siglip2-base-patch16-384": siglip2(base, 16, 384),
  "siglip2-base-patch16-512": siglip2(base, 16, 512),
  "siglip2-base-patch32-256": siglip2(base, 32, 256),
  "siglip2-large-patch16-256": siglip2(large, 16, 256),
  "siglip2-large-patch16-384": siglip2(large, 16, 384),
  "siglip2-large-patch16-512": siglip2(large, 16, 512),
  "siglip2-so400m-patch14-224": siglip2(so400m, 14, 224),
  "siglip2-so400m-patch14-384": siglip2(so400m, 14, 384),
  "siglip2-so400m-patch16-256": siglip2(so400m, 16, 256),
  "siglip2-so400m-patch16-384": siglip2(so400m, 16, 384),
  "siglip2-so400m-patch16-512": siglip2(so400m, 16, 512),
  "siglip2-giant-opt-patch16-256": siglip2([1536, 40, 16], 16, 256),
  "siglip2-giant-opt-patch16-384": siglip2([1536, 40, 16], 16, 384),
} as const satisfies Readonly<Record<string, ViTConfig>>;

export type ViTModel = keyof typeof vitModels;

const letters: Readonly<Record<string, string>> = {
  small: "s",
  small_plus: "s",
  base: "b",
  large: "l",
  huge_plus: "h",
  giant: "g",
  "7b": "7b",
};

/** Other spellings, each to a key of `vitModels`. */
const spellings: readonly (readonly [RegExp, (...parts: string[]) => string])[] = [
  [/^dinov2-(with-registers-)?(\w+)$/, (_, reg, size) => hub("dinov2", size!, 14, reg && "_reg")],
  [
    /^vit_(small|base|large|giant)_patch14_(reg4_)?dinov2\b.*/,
    (_, size, reg) => hub("dinov2", size!, 14, reg && "_reg"),
  ],
  [/^dinov3-(vit\w+16(?:plus)?)-pretrain-.*/, (_, arch) => `dinov3_${arch}`],
  [
    /^vit_(small|small_plus|base|large|huge_plus|7b)_patch16_dinov3(?:_qkvb)?\b.*/,
    (_, size) => hub("dinov3", size!, 16, size!.endsWith("plus") ? "plus" : ""),
  ],
  [/^vit-mae-(base|large|huge)$/, (_, size) => `mae_vit_${size}_patch${size === "huge" ? 14 : 16}`],
  [/^vit_(base|large|huge)_patch(\d+)_224\.mae$/, (_, size, p) => `mae_vit_${size}_patch${p}`],
  [/^ViT-([BL])\/(\d+)(?:@(336)px)?$/, (_, size, p, side) => clipName(size!, p!, side)],
  [
    /^vit_(base|large)_patch(\d+)_clip(?:_quickgelu)?_(?:224|(336))\.openai$/,
    (_, size, p, side) => clipName(size!, p!, side),
  ],
  [/^(siglip-base-patch16-256)-multilingual$/, (_, name) => name!],
  [
    /^vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)\.(?:(v2_)?webli|webli(_i18n))$/,
    (_, size, p, side, two, i18n) => siglipName({ size: size!, patch: p!, side: side!, two, i18n }),
  ],
  [
    /^vit-(base|large)-patch(16|32)-(224|384)(?:-in21k)?$/,
    (_, size, p, side) => `vit_${size}_patch${p}_${side}`,
  ],
  [
    /^(vit_\w+_patch(?:8|16|32)_(?:224|384))(?:_in21k|\.dino|\.(?:augreg2?|orig)_\w+)$/,
    (_, name) => name!,
  ],
];

/** What a name says beside the key of its model. */
const variants: readonly (readonly [RegExp, (config: ViTConfig) => Partial<ViTConfig>])[] = [
  [/_patch14_dinov2\b/, () => ({ positionResampling: "timm" })],
  // of the satellite images that they were trained on
  [/sat493m/, () => ({ mean: [0.43, 0.411, 0.296], std: [0.213, 0.156, 0.143] })],
  [/\.dino$/, () => ({ ...imagenet, classes: 0 })],
  // timm's of so400m at 384, with images of whole patches
  [
    /_siglip_378\b/,
    ({ transform }) => ({
      imageSize: 378,
      transform: { ...transform, resize: { height: 378, width: 378 } },
    }),
  ],
];

function hub(family: string, size: string, patch: number, suffix = ""): string {
  return `${family}_vit${letters[size]}${patch}${suffix}`;
}

function clipName(size: string, patch: string, side?: string): string {
  const word = size === "B" || size === "base" ? "base" : "large";
  return `clip-vit-${word}-patch${patch}${side ? "-336" : ""}`;
}

interface SiglipParts {
  readonly size: string;
  readonly patch: string;
  readonly side: string;
  readonly two: string | undefined;
  readonly i18n: string | undefined;
}

function siglipName({ size, patch, side, two, i18n }: SiglipParts): string {
  const word = size === "giantopt" ? "giant-opt" : size;
  const pixels = side === "378" ? "384" : side;
  const suffix = i18n && size === "so400m" ? "-i18n" : "";
  return `siglip${two ? 2 : ""}-${word}-patch${patch}-${pixels}${suffix}`;
}

/**
 * The configuration of a model by its key in `vitModels`, its timm name with tag (`vit_large_patch14_dinov2.lvd142m`),
 * its Hugging Face id (`facebook/dinov2-large`) or OpenAI's name (`ViT-L/14`).
 *
 * @throws AlignTokError `bad-input` listing keys, or `unsupported` for NaFlex models.
 */
export function findViTModel(name: string): ViTConfig {
  const known = knownViTModel(name);
  if (known) return known;
  throw new AlignTokError(
    "bad-input",
    `model: expected a key of vitModels (${listSome(Object.keys(vitModels))}) or the timm or Hugging Face name of one, got ${name}`,
  );
}

/** As `findViTModel`; undefined for other names. */
export function knownViTModel(name: string): ViTConfig | undefined {
  if (/naflex/i.test(name)) throw naflex(`model ${name}`);
  const short = name.startsWith("ViT-") ? name : name.slice(name.lastIndexOf("/") + 1);
  const names = [
    short,
    ...spellings.filter(([p]) => p.test(short)).map(([p, to]) => short.replace(p, to)),
  ];
  const key = names.find((key) => Object.hasOwn(vitModels, key));
  if (!key) return undefined;
  const config: ViTConfig = vitModels[key as ViTModel];
  const [, own] = variants.find(([pattern]) => pattern.test(short)) ?? [];
  return own ? { ...config, ...own(config) } : config;
}

/** NaFlex models take patches already cut, with a mask and positions resampled for each image of a batch. */
export function naflex(what: string): AlignTokError {
  return new AlignTokError(
    "unsupported",
    `${what}: expected a SigLIP 2 of fixed resolution, got NaFlex, which needs a mask and positions for each image of a batch. use siglip2-base-patch16-256 or another size without naflex`,
  );
}

export interface InputSizeOptions {
  /** Pixels of the original image per token, along each side. @default 16 */
  readonly stride?: number;
}

/** Side in pixels that the encoder is given so that an image gives one token per `stride`: 256 to 224 for patches of 14. */
export function inputSize(
  config: Pick<ViTConfig, "patchSize">,
  imageSize: number,
  { stride = 16 }: InputSizeOptions = {},
): number {
  if (!(imageSize > 0) || imageSize % stride !== 0) {
    throw new AlignTokError(
      "bad-input",
      `image size: expected a positive multiple of ${stride}, got ${imageSize}. resize or crop first`,
    );
  }
  return (imageSize / stride) * config.patchSize;
}
