/** Configurations of text encoders: `config.json` of Hugging Face, or what the shapes of the tensors tell. */
import { AlignTokError, check, type NdArray } from "@aligntok/core";
import { count, isRecord, type Json, number } from "../config-json.ts";
import type { ClipTextConfig } from "./clip-text.ts";
import type { T5Config } from "./t5.ts";

export type TextConfig = ClipTextConfig | T5Config;

/**
 * The text encoder that a parsed `config.json` describes: that of CLIPModel (in its `text_config`), CLIPTextModel and
 * CLIPTextModelWithProjection, T5EncoderModel and T5ForConditionalGeneration.
 *
 * @throws AlignTokError `bad-input` for missing or impossible values, `unsupported` for other architectures.
 */
export function parseTextConfig(json: unknown): TextConfig {
  check(isRecord(json), () => `config: expected a JSON object, got ${typeof json}`);
  const config = fromHuggingFace(json);
  check(
    config.family === "t5" || config.width % config.heads === 0,
    () =>
      `config: expected a width divisible by the heads, got width ${config.width}, ${config.heads} heads`,
  );
  return config;
}

function fromHuggingFace(json: Json): TextConfig {
  const { model_type: type, text_config: text } = json;
  switch (type) {
    case "clip": {
      check(isRecord(text), () => `config text_config: expected an object, got ${typeof text}`);
      return fromClip({ ...text, projection_dim: json.projection_dim ?? text.projection_dim });
    }
    case "clip_text_model":
      return fromClip(json);
    case "t5":
      return fromT5(json);
    default:
      throw new AlignTokError(
        "unsupported",
        `config model_type: expected clip, clip_text_model or t5, got ${type}. vision encoders are loaded by loadEncoder`,
      );
  }
}

const gelus: Readonly<Record<string, ClipTextConfig["gelu"]>> = {
  quick_gelu: "quick",
  gelu: "none",
  gelu_new: "tanh",
  gelu_pytorch_tanh: "tanh",
};

/** transformers leaves out of `text_config` what is as in CLIP B/32. */
function fromClip(json: Json): ClipTextConfig {
  const activation = json.hidden_act ?? "quick_gelu";
  const gelu = Object.hasOwn(gelus, `${activation}`) ? gelus[`${activation}`] : undefined;
  if (!gelu) {
    throw new AlignTokError(
      "unsupported",
      `config hidden_act: expected one of ${Object.keys(gelus).join(", ")}, got ${activation}`,
    );
  }
  return {
    family: "clip",
    vocabulary: count(json, "vocab_size", 49408),
    positions: count(json, "max_position_embeddings", 77),
    width: count(json, "hidden_size", 512),
    depth: count(json, "num_hidden_layers", 12),
    heads: count(json, "num_attention_heads", 8),
    hiddenWidth: count(json, "intermediate_size", 2048),
    gelu,
    eps: number(json, "layer_norm_eps", 1e-5),
    embeddingWidth: count(json, "projection_dim", 512),
    endToken: number(json, "eos_token_id", 49407),
  };
}

function fromT5(json: Json): T5Config {
  const feedForward = json.feed_forward_proj ?? "relu";
  if (feedForward !== "relu" && feedForward !== "gated-gelu") {
    throw new AlignTokError(
      "unsupported",
      `config feed_forward_proj: expected relu or gated-gelu, got ${feedForward}`,
    );
  }
  return {
    family: "t5",
    vocabulary: count(json, "vocab_size", 32128),
    width: count(json, "d_model", 512),
    depth: count(json, "num_layers", 6),
    heads: count(json, "num_heads", 8),
    headWidth: count(json, "d_kv", 64),
    hiddenWidth: count(json, "d_ff", 2048),
    feedForward,
    buckets: count(json, "relative_attention_num_buckets", 32),
    maxDistance: count(json, "relative_attention_max_distance", 128),
    eps: number(json, "layer_norm_epsilon", 1e-6),
    maxLength: count(json, "n_positions", 512),
  };
}

/**
 * The text encoder that tensors under the names of `clipTextShapes` or `t5Shapes` belong to. What shapes do not tell is
 * as in OpenAI's CLIP (heads of 64 channels, quick GELU) and T5.
 *
 * @throws AlignTokError `unsupported` for other tensors.
 */
export function describeTextCheckpoint(
  tensors: Readonly<Record<string, Pick<NdArray, "shape">>>,
): TextConfig {
  const size = (name: string, axis: number) => {
    const found = tensors[name]?.shape[axis];
    if (found) return found;
    throw new AlignTokError(
      "unsupported",
      `text encoder: expected the tensors of CLIP or of T5, got ${Object.keys(tensors).length} without ${name}. give a folder with config.json`,
    );
  };
  const names = Object.keys(tensors);
  const blocks = (prefix: string) =>
    new Set(
      names
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length).split(".")[0]),
    ).size;
  if ("shared.weight" in tensors) {
    const block = "encoder.block.0.layer";
    const attention = `${block}.0.SelfAttention`;
    const gated = `${block}.1.DenseReluDense.wi_0.weight` in tensors;
    const heads = size(`${attention}.relative_attention_bias.weight`, 1);
    return fromT5({
      vocab_size: size("shared.weight", 0),
      d_model: size("shared.weight", 1),
      num_layers: blocks("encoder.block."),
      num_heads: heads,
      d_kv: size(`${attention}.q.weight`, 0) / heads,
      d_ff: size(`${block}.1.DenseReluDense.wo.weight`, 1),
      feed_forward_proj: gated ? "gated-gelu" : "relu",
      relative_attention_num_buckets: size(`${attention}.relative_attention_bias.weight`, 0),
    });
  }
  const width = size("embeddings.token_embedding.weight", 1);
  const vocabulary = size("embeddings.token_embedding.weight", 0);
  return fromClip({
    vocab_size: vocabulary,
    max_position_embeddings: size("embeddings.position_embedding.weight", 0),
    hidden_size: width,
    num_hidden_layers: blocks("encoder.layers."),
    num_attention_heads: width / 64,
    intermediate_size: size("encoder.layers.0.mlp.fc1.weight", 0),
    projection_dim: tensors["text_projection.weight"]?.shape[0] ?? width,
    eos_token_id: vocabulary - 1,
  });
}
