/** Model configurations as they lie beside weights: `config.json` of Hugging Face and of timm, `preprocessor_config.json`. */
import { AlignTokError, check } from "@aligntok/core";
import { count, isRecord, type Json, number, oneOf, pixels, triple } from "./config-json.ts";
import { findViTModel, knownViTModel, naflex, vitModels } from "./models.ts";
import { positionResamplings } from "./position-embedding.ts";
import {
  inputSizeOf,
  parsePreprocessor,
  parsePretrained,
  parseTransform,
  presetOf,
} from "./preset.ts";
import { patchGrid, type ViTConfig } from "./vit.ts";

/**
 * The model that a parsed `config.json` describes: of Hugging Face, of the timm models on the Hub, or with timm's
 * fields as `formatConfig` writes them.
 *
 * @param preprocessor the parsed `preprocessor_config.json`; without it, images are prepared as `vitModels` says of the
 *   model with these sizes, or as its family does at its own size.
 * @throws AlignTokError `bad-input` for missing or impossible values, `unsupported` for other architectures.
 */
export function parseConfig(json: unknown, preprocessor: object = {}): ViTConfig {
  check(isRecord(json), () => `config: expected a JSON object, got ${typeof json}`);
  const config = parseAny(json, preprocessor as Json);
  check(
    config.width % config.heads === 0 && Math.min(...patchGrid(config)) > 0,
    () =>
      `config: expected a width divisible by the heads and an image of at least one patch, got width ${config.width}, ${config.heads} heads, image ${config.imageSize}, patch ${config.patchSize}`,
  );
  return config;
}

function parseAny(json: Json, preprocessor: Json): ViTConfig {
  if ("model_type" in json) return fromHuggingFace(json, preprocessor);
  if (!("embed_dim" in json) && typeof json.architecture === "string") return fromHub(json);
  return fromTimm(json);
}

/** Whose choices hold where the file is silent. */
const families: Readonly<Record<string, ViTConfig>> = {
  dinov2: vitModels.dinov2_vits14,
  dinov2_with_registers: vitModels.dinov2_vits14_reg,
  dinov3_vit: vitModels.dinov3_vits16,
  vit: vitModels.vit_base_patch16_224,
  vit_mae: vitModels.mae_vit_base_patch16,
  clip: vitModels["clip-vit-base-patch32"],
  siglip: vitModels["siglip-base-patch16-224"],
};

function fromHuggingFace(json: Json, preprocessor: Json): ViTConfig {
  const whole = String(json.model_type);
  if (whole.startsWith("siglip2")) throw naflex(`config model_type ${whole}`);
  const type = whole.replace(/_vision_model$/, "");
  const family = Object.hasOwn(families, type) ? families[type] : undefined;
  if (!family) {
    throw new AlignTokError(
      "unsupported",
      `config model_type: expected ${Object.keys(families).join(", ")}, got ${whole}`,
    );
  }
  const like = transformersOwn(isSiglip2(json) ? vitModels["siglip2-base-patch16-224"] : family);
  const isContrastive = type === "clip" || type === "siglip";
  // of a whole CLIP or SigLIP, the vision tower; what it leaves out is that of the base model
  const own = isContrastive && isRecord(json.vision_config) ? json.vision_config : json;
  const defaults = isContrastive ? like : undefined;
  const isDinov2 = type.startsWith("dinov2");
  const width = count(own, "hidden_size", defaults?.width);
  const swiglu = own.use_swiglu_ffn === true || own.use_gated_mlp === true;
  const gate = own.use_gated_mlp === true ? (own.hidden_act ?? "gelu") : "silu";
  if (gate !== "silu") {
    throw new AlignTokError(
      "unsupported",
      `config hidden_act: expected silu, as in every published DINOv3 with a gated mlp, got ${gate}`,
    );
  }
  const wide = isDinov2
    ? Math.floor(width * number(own, "mlp_ratio", 4))
    : count(own, "intermediate_size", defaults?.hiddenWidth);
  const patchSize = count(own, "patch_size", defaults?.patchSize);
  const embedding = embeddingOf(json, own, like);
  const config: ViTConfig = {
    ...like,
    patchSize,
    imageSize: pixels(own, "image_size", defaults?.imageSize),
    width,
    depth: count(own, "num_hidden_layers", defaults?.depth),
    heads: count(own, "num_attention_heads", defaults?.heads),
    feedForward: swiglu ? "swiglu" : "mlp",
    // of DINOv2, two thirds of the MLP's width, rounded up to a multiple of 8
    hiddenWidth: swiglu && isDinov2 ? Math.floor((Math.floor((wide * 2) / 3) + 7) / 8) * 8 : wide,
    gelu: swiglu ? "none" : activation(own, like.gelu),
    qkvBias:
      own.qkv_bias !== false &&
      !(type === "dinov3_vit" && own.query_bias === false && own.value_bias === false),
    registers: like.registers ? count(own, "num_register_tokens", isDinov2 ? 4 : 0) : 0,
    ropeTheta: number(own, "rope_theta", like.ropeTheta),
    eps: number(own, "layer_norm_eps", like.eps),
    embedding,
    embeddingWidth:
      embedding === "none"
        ? 0
        : embedding === "attention"
          ? width
          : count("projection_dim" in json ? json : own, "projection_dim", 512),
    classes: hasClassifier(json) ? Object.keys(json.id2label ?? {}).length : 0,
    mean: triple(preprocessor.image_mean ?? like.mean, "image_mean"),
    std: triple(preprocessor.image_std ?? like.std, "image_std"),
  };
  const preset = presetOf({ ...config, mean: like.mean, std: like.std }, like.transform);
  return { ...config, transform: parsePreprocessor(preprocessor, preset) };
}

/**
 * A known model as transformers runs it: with another epsilon in the plain ViT and MAE, and with positions resampled
 * without antialiasing, but for DINOv2 with registers.
 */
export function transformersOwn(config: ViTConfig): ViTConfig {
  const { classToken, layerScale, preNorm, registers, positions } = config;
  const isPlain = classToken && !layerScale && !preNorm;
  const isAntialiased = registers > 0 && positions === "learned";
  return {
    ...config,
    ...(isPlain && { eps: 1e-12 }),
    positionResampling: isAntialiased ? "timm" : "huggingface",
  };
}

/** Both are called `siglip`; SigLIP 2 has the vocabulary of Gemma. */
function isSiglip2(json: Json): boolean {
  return isRecord(json.text_config) && json.text_config.vocab_size === 256_000;
}

/** CLIP's vision tower alone has no projection, unless its class says so; SigLIP's pooling may be left out. */
function embeddingOf(json: Json, own: Json, like: ViTConfig): ViTConfig["embedding"] {
  if (own.vision_use_head === false) return "none";
  if (like.embedding !== "projection" || own !== json) return like.embedding;
  return JSON.stringify(json.architectures ?? "").includes("WithProjection")
    ? "projection"
    : "none";
}

const activations: Readonly<Record<string, ViTConfig["gelu"]>> = {
  gelu: "none",
  gelu_pytorch_tanh: "tanh",
  gelu_new: "tanh",
  quick_gelu: "quick",
};

function activation(json: Json, fallback: ViTConfig["gelu"]): ViTConfig["gelu"] {
  const name = json.hidden_act;
  if (name === undefined) return fallback;
  const found = typeof name === "string" ? activations[name] : undefined;
  if (found) return found;
  throw new AlignTokError(
    "unsupported",
    `config hidden_act: expected ${Object.keys(activations).join(", ")}, got ${name}`,
  );
}

/** DINOv2's classifier takes more than the class token and is not read. */
function hasClassifier({ model_type, architectures }: Json): boolean {
  return model_type === "vit" && JSON.stringify(architectures ?? "").includes("Classification");
}

/** `config.json` of timm's models on the Hub, which names the architecture; the tag says what it was trained on. */
function fromHub(json: Json): ViTConfig {
  const details = isRecord(json.pretrained_cfg) ? json.pretrained_cfg : {};
  const tag = typeof details.tag === "string" ? `.${details.tag}` : "";
  const like =
    knownViTModel(`${json.architecture}${tag}`) ?? findViTModel(String(json.architecture));
  const isFixed = details.fixed_input_size !== false;
  return {
    ...like,
    imageSize: (isFixed ? inputSizeOf(details) : undefined) ?? like.imageSize,
    classes: like.embedding === "none" ? count(json, "num_classes", 0) : 0,
    mean: triple(details.mean ?? like.mean, "mean"),
    std: triple(details.std ?? like.std, "std"),
    positionResampling: "timm",
    transform: parsePretrained(details, like.transform),
  };
}

/** timm's argument names, and ours for what timm has no name for; what may be left out is as in a plain ViT. */
function fromTimm(json: Json): ViTConfig {
  const width = count(json, "embed_dim");
  const imageSize = pixels(json, "image_size");
  const embedding = oneOf(json, "embedding", ["none", "projection", "attention"] as const);
  const config = {
    patchSize: count(json, "patch_size"),
    imageSize,
    width,
    depth: count(json, "depth"),
    heads: count(json, "num_heads"),
    feedForward: oneOf(json, "feed_forward", ["mlp", "swiglu"] as const),
    hiddenWidth: Math.round(width * number(json, "mlp_ratio", 4)),
    gelu: oneOf(json, "gelu", ["none", "tanh", "quick"] as const),
    patchBias: json.patch_bias !== false,
    qkvBias: json.qkv_bias !== false,
    layerScale: json.layer_scale === true,
    classToken: json.class_token !== false,
    registers: count(json, "registers", 0),
    positions: oneOf(json, "positions", ["learned", "rotary"] as const),
    ropeTheta: number(json, "rope_theta", 100),
    preNorm: json.pre_norm === true,
    eps: number(json, "layer_norm_eps", 1e-6),
    embedding,
    embeddingWidth: count(json, "embedding_width", 0),
    classes: count(json, "num_classes", 0),
    mean: triple(json.mean, "mean"),
    std: triple(json.std, "std"),
    positionResampling: oneOf(json, "position_resampling", positionResamplings),
  };
  return { ...config, transform: parseTransform(json.transform, presetOf(config)) };
}

/** The timm-style object that `parseConfig` reads back as `config`. */
export function formatConfig(config: ViTConfig): Json {
  return {
    embed_dim: config.width,
    depth: config.depth,
    num_heads: config.heads,
    patch_size: config.patchSize,
    image_size: config.imageSize,
    mlp_ratio: config.hiddenWidth / config.width,
    feed_forward: config.feedForward,
    gelu: config.gelu,
    patch_bias: config.patchBias,
    qkv_bias: config.qkvBias,
    layer_scale: config.layerScale,
    class_token: config.classToken,
    registers: config.registers,
    positions: config.positions,
    rope_theta: config.ropeTheta,
    pre_norm: config.preNorm,
    embedding: config.embedding,
    embedding_width: config.embeddingWidth,
    num_classes: config.classes,
    layer_norm_eps: config.eps,
    mean: config.mean,
    std: config.std,
    position_resampling: config.positionResampling,
    transform: config.transform,
  };
}
