/** Model configurations as they lie beside weights: `config.json` of Hugging Face (dinov2, vit) and of timm. */
import { AlignTokError, check } from "@aligntok/core";
import { count, isRecord, type Json, number, oneOf, triple } from "./config-json.ts";
import type { PositionResampling } from "./position-embedding.ts";
import type { ViTConfig } from "./vit.ts";

/** How images are normalised, from `preprocessor_config.json`, where Hugging Face keeps it. */
interface Preprocessor {
  readonly image_mean?: unknown;
  readonly image_std?: unknown;
}

const imagenetMean = [0.485, 0.456, 0.406];
const imagenetStd = [0.229, 0.224, 0.225];
const half = [0.5, 0.5, 0.5];

/**
 * The model that a parsed `config.json` describes.
 *
 * @param preprocessor the parsed `preprocessor_config.json`; without it, DINOv2 normalises by ImageNet's
 *   statistics and ViT by 0.5.
 * @throws AlignTokError `bad-input` for missing or impossible values, `unsupported` for other architectures.
 */
export function parseConfig(json: unknown, preprocessor: Preprocessor = {}): ViTConfig {
  check(isRecord(json), () => `config: expected a JSON object, got ${typeof json}`);
  const config = "model_type" in json ? fromHuggingFace(json, preprocessor) : fromTimm(json);
  check(
    config.width % config.heads === 0 && config.imageSize >= config.patchSize,
    () =>
      `config: expected a width divisible by the heads and an image of at least one patch, got width ${config.width}, ${config.heads} heads, image ${config.imageSize}, patch ${config.patchSize}`,
  );
  return config;
}

function fromHuggingFace(json: Json, preprocessor: Preprocessor): ViTConfig {
  const type = json.model_type;
  const isDinov2 = type === "dinov2" || type === "dinov2_with_registers";
  if (!isDinov2 && type !== "vit") {
    throw new AlignTokError(
      "unsupported",
      `config model_type: expected dinov2, dinov2_with_registers or vit, got ${type}`,
    );
  }
  const activation = json.hidden_act ?? "gelu";
  if (activation !== "gelu") {
    throw new AlignTokError("unsupported", `config hidden_act: expected gelu, got ${activation}`);
  }
  const width = count(json, "hidden_size");
  const swiglu = isDinov2 && json.use_swiglu_ffn === true;
  const wide = isDinov2
    ? Math.floor(width * number(json, "mlp_ratio", 4))
    : count(json, "intermediate_size");
  return {
    patchSize: count(json, "patch_size"),
    imageSize: count(json, "image_size"),
    width,
    depth: count(json, "num_hidden_layers"),
    heads: count(json, "num_attention_heads"),
    feedForward: swiglu ? "swiglu" : "mlp",
    // two thirds of the MLP's width, rounded up to a multiple of 8
    hiddenWidth: swiglu ? Math.floor((Math.floor((wide * 2) / 3) + 7) / 8) * 8 : wide,
    qkvBias: json.qkv_bias !== false,
    layerScale: isDinov2,
    registers: type === "dinov2_with_registers" ? count(json, "num_register_tokens", 4) : 0,
    eps: number(json, "layer_norm_eps", isDinov2 ? 1e-6 : 1e-12),
    classes: hasClassifier(json) ? Object.keys(json.id2label ?? {}).length : 0,
    mean: triple(preprocessor.image_mean ?? (isDinov2 ? imagenetMean : half), "image_mean"),
    std: triple(preprocessor.image_std ?? (isDinov2 ? imagenetStd : half), "image_std"),
    positionResampling: type === "dinov2_with_registers" ? "timm" : "huggingface",
  };
}

/** DINOv2's classifier takes more than the class token and is not read. */
function hasClassifier({ model_type, architectures }: Json): boolean {
  return model_type === "vit" && JSON.stringify(architectures ?? "").includes("Classification");
}

/** timm's argument names; `registers`, `layer_scale`, `feed_forward` and `position_resampling` may be left out. */
function fromTimm(json: Json): ViTConfig {
  const width = count(json, "embed_dim");
  const feedForward = oneOf(json, "feed_forward", ["mlp", "swiglu"] as const);
  return {
    patchSize: count(json, "patch_size"),
    imageSize: count(json, "image_size"),
    width,
    depth: count(json, "depth"),
    heads: count(json, "num_heads"),
    feedForward,
    hiddenWidth: Math.round(width * number(json, "mlp_ratio", 4)),
    qkvBias: json.qkv_bias !== false,
    layerScale: json.layer_scale === true,
    registers: count(json, "registers", 0),
    eps: number(json, "layer_norm_eps", 1e-6),
    classes: count(json, "num_classes", 0),
    mean: triple(json.mean, "mean"),
    std: triple(json.std, "std"),
    positionResampling: oneOf(json, "position_resampling", resamplings),
  };
}

const resamplings = ["timm", "dinov2", "huggingface"] as const satisfies PositionResampling[];

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
    qkv_bias: config.qkvBias,
    layer_scale: config.layerScale,
    registers: config.registers,
    num_classes: config.classes,
    layer_norm_eps: config.eps,
    mean: config.mean,
    std: config.std,
    position_resampling: config.positionResampling,
  };
}
