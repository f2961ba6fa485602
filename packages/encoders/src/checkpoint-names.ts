/**
 * Names of published checkpoints to the names of `vitShapes`, which are those of the original DINOv2 and timm.
 *
 * Recognised by the keys alone: original DINOv2, timm (registers called `reg_token`, SwiGLU called fc1 and
 * fc2), and both Hugging Face spellings of `Dinov2Model`, `Dinov2WithRegistersModel` and `ViTModel` (that of
 * files on the Hub and that of transformers 5 in memory), with or without the prefix of a wrapping model.
 */
import { check, concatRows, type NdArray, type Parameters, toFloat32, zeros } from "@aligntok/core";
import { checkTensors } from "./expected-tensors.ts";
import { type ViTConfig, vitShapes } from "./vit.ts";

/** Applied one after the other to every key. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/^(?:(?:module|backbone|model|dinov2|dinov2_with_registers|vit)\.)+/, ""],
  [/^embeddings\.position_embeddings$/, "pos_embed"],
  [/^embeddings\.patch_embeddings\.projection\./, "patch_embed.proj."],
  [/^embeddings\./, ""],
  [/^reg_token$/, "register_tokens"],
  [/^(?:encoder\.)?layers?\.(\d+)\./, "blocks.$1."],
  [/\.layernorm_before\./, ".norm1."],
  [/\.layernorm_after\./, ".norm2."],
  [/\.attention\.(?:output\.dense|o_proj)\./, ".attn.proj."],
  [/\.attention\.attention\.query\.|\.attention\.q_proj\./, ".attn.q."],
  [/\.attention\.attention\.key\.|\.attention\.k_proj\./, ".attn.k."],
  [/\.attention\.attention\.value\.|\.attention\.v_proj\./, ".attn.v."],
  [/\.layer_scale([12])\.lambda1$/, ".ls$1.gamma"],
  [/\.mlp\.weights_in\./, ".mlp.w12."],
  [/\.mlp\.(?:weights_out|down_proj)\./, ".mlp.w3."],
  [/\.mlp\.gate_proj\./, ".mlp.w1."],
  [/\.mlp\.up_proj\./, ".mlp.w2."],
  [/\.intermediate\.dense\./, ".mlp.fc1."],
  [/^(blocks\.\d+)\.output\.dense\./, "$1.mlp.fc2."],
  [/^layernorm\./, "norm."],
  [/^classifier\./, "head."],
];

/** Separate matrices that one product computes here, with the name of their concatenation. */
const fused: readonly (readonly [parts: readonly string[], whole: string])[] = [
  [[".attn.q.", ".attn.k.", ".attn.v."], ".attn.qkv."],
  [[".mlp.w1.", ".mlp.w2."], ".mlp.w12."],
];

/** Of training objectives that no feature depends on. */
const ignored = /^(?:mask_token$|pooler\.)/;

/**
 * The parameters of `config` in float32 under the names of `vitShapes`, from the tensors of a checkpoint.
 *
 * @throws AlignTokError `bad-input` listing missing, left-over or wrongly shaped keys, at most five of each.
 */
export function adaptCheckpoint(
  config: ViTConfig,
  tensors: Readonly<Record<string, NdArray>>,
): Parameters {
  const found: Record<string, NdArray<"float32">> = {};
  for (const [key, tensor] of Object.entries(tensors)) {
    let name = renames.reduce((text, [pattern, to]) => text.replace(pattern, to), key);
    if (config.feedForward === "swiglu") {
      name = name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.");
    }
    if (ignored.test(name) || (name.startsWith("head.") && !config.classes)) continue;
    check(
      !(name in found),
      `checkpoint: expected one tensor for ${name}, got several. one of them is ${key}`,
    );
    found[name] = toFloat32(tensor);
  }
  const shapes = vitShapes(config);
  fuse(found);
  giveClassTokenPosition(found, shapes);
  checkTensors(found, shapes);
  return Object.fromEntries(Object.keys(shapes).map((name) => [name, found[name]!]));
}

function fuse(found: Record<string, NdArray<"float32">>): void {
  for (const [parts, whole] of fused) {
    for (const name of Object.keys(found).filter((key) => key.includes(parts[0]!))) {
      const names = parts.map((part) => name.replace(parts[0]!, part));
      if (!names.every((part) => part in found)) continue; // reported as left over
      found[name.replace(parts[0]!, whole)] = concatRows(names.map((part) => found[part]!));
      for (const part of names) delete found[part];
    }
  }
}

/** timm's register models have no row for the class token, whose position is added to `cls_token` itself. */
function giveClassTokenPosition(
  found: Record<string, NdArray<"float32">>,
  shapes: ReturnType<typeof vitShapes>,
): void {
  const positions = found.pos_embed;
  const [, expected = 0, d = 0] = shapes.pos_embed!;
  if (positions?.shape.join() !== `1,${expected - 1},${d}`) return;
  const withClass = zeros([1, expected, d]);
  withClass.data.set(positions.data, d);
  found.pos_embed = withClass;
}
