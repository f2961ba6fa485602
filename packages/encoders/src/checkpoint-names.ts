/**
 * Names of published checkpoints to the names of `vitShapes`, which are those of the original DINOv2 and timm.
 *
 * Recognised by the keys alone: original DINOv2, DINOv3, MAE and CLIP, timm (`reg_token`, `gamma_1`, SwiGLU called fc1
 * and fc2, or fc1_g, fc1_x and fc2), and Hugging Face's of every family in both spellings (of files on the Hub, and of transformers 5 in
 * memory). The encoder is where its patch embedding is, whatever wraps it, and what lies outside is not read.
 */
import { joinRows } from "@aligntok/checkpoint";
import {
  check,
  listSome,
  type NdArray,
  ndarray,
  type Parameters,
  reshape,
  rows,
  toFloat32,
  zeros,
} from "@aligntok/core";
import { checkTensors } from "./expected-tensors.ts";
import { type ViTModel, vitModels } from "./models.ts";
import { type ViTConfig, vitShapes } from "./vit.ts";

type Tensors = Readonly<Record<string, NdArray>>;
type Found = Record<string, NdArray<"float32">>;

/** Kernels of patches, (D, 3, p, p), as each upstream calls them. */
const patchEmbedding =
  /^(.*?)(?:patch_embed\.proj|embeddings\.patch_embeddings\.projection|embeddings\.patch_embeddings?|embeddings\.patch_embedding|conv1)\.weight$/;

/** Beside the encoder rather than in it, in Hugging Face's models. */
const siblings = /^(?:.*\.)?((?:visual_projection|classifier)\..*)$/;

/** Applied one after the other to every key, without the prefix. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/^(?:embeddings\.position_embeddings?(?:\.weight)?|positional_embedding)$/, "pos_embed"],
  [/^(?:embeddings\.patch_embeddings?(?:\.projection)?|conv1)\./, "patch_embed.proj."],
  [/^(?:embeddings\.)?class_embedding$/, "cls_token"],
  [/^embeddings\./, ""],
  [/^(?:reg_token|storage_tokens)$/, "register_tokens"],
  [/^(?:transformer\.resblocks|(?:(?:model|encoder)\.)?layers?)\.(\d+)\./, "blocks.$1."],
  [/^blocks\.(\d+)\.(?:layernorm_before|layer_norm1|ln_1)\./, "blocks.$1.norm1."],
  [/^blocks\.(\d+)\.(?:layernorm_after|layer_norm2|ln_2)\./, "blocks.$1.norm2."],
  [/\.(?:attention\.(?:output\.dense|o_proj)|(?:self_attn|attn)\.out_proj)\./, ".attn.proj."],
  [/\.(?:attention\.attention\.query|(?:attention|self_attn)\.q_proj)\./, ".attn.q."],
  [/\.(?:attention\.attention\.key|(?:attention|self_attn)\.k_proj)\./, ".attn.k."],
  [/\.(?:attention\.attention\.value|(?:attention|self_attn)\.v_proj)\./, ".attn.v."],
  [/\.attn\.in_proj_/, ".attn.qkv."],
  [/\.attn\.([qv])_bias$/, ".attn.$1.bias"],
  [/\.layer_scale([12])\.lambda1$/, ".ls$1.gamma"],
  [/\.gamma_([12])$/, ".ls$1.gamma"],
  [/\.mlp\.c_fc\./, ".mlp.fc1."],
  [/\.mlp\.c_proj\./, ".mlp.fc2."],
  [/\.mlp\.weights_in\./, ".mlp.w12."],
  [/\.mlp\.(?:gate_proj|fc1_g)\./, ".mlp.w1."],
  [/\.mlp\.fc1_x\./, ".mlp.w2."],
  [/\.intermediate\.dense\./, ".mlp.fc1."],
  [/^(blocks\.\d+)\.output\.dense\./, "$1.mlp.fc2."],
  [/^(?:layernorm|post_layernorm|ln_post)\./, "norm."],
  [/^(?:pre_layrnorm|ln_pre)\./, "norm_pre."],
  [/^head\.probe$/, "attn_pool.latent"],
  [/^head\.attention\.in_proj_/, "attn_pool.qkv."],
  [/^head\.attention\.out_proj\./, "attn_pool.proj."],
  [/^head\.layernorm\./, "attn_pool.norm."],
  [/^head\.mlp\./, "attn_pool.mlp."],
  [/^visual_projection\./, "projection."],
  [/^classifier\./, "head."],
];

/** Names that mean one thing in a model with SwiGLU and another in one without. */
const swiGluNames: readonly (readonly [RegExp, string])[] = [
  [/\.mlp\.(?:weights_out|down_proj|fc2)\./, ".mlp.w3."],
  [/\.mlp\.up_proj\./, ".mlp.w2."],
  [/\.mlp\.fc1\./, ".mlp.w12."],
];
const mlpNames: readonly (readonly [RegExp, string])[] = [
  [/\.mlp\.up_proj\./, ".mlp.fc1."],
  [/\.mlp\.down_proj\./, ".mlp.fc2."],
];

/** Separate matrices that one product computes here, with the name of their concatenation. */
const fused: readonly (readonly [parts: readonly string[], whole: string])[] = [
  [[".attn.q.", ".attn.k.", ".attn.v."], ".attn.qkv."],
  [[".mlp.w1.", ".mlp.w2."], ".mlp.w12."],
];

/** Of training objectives that no feature depends on, and buffers computed here. */
const ignored =
  /^(?:mask_token$|pooler\.|decoder(?:_|\.)|local_cls_norm\.|rope_embed\.|rope_embeddings\.|fc_norm\.|pre_logits\.|position_ids$)|\.position_ids$/;

/** The names of `vitShapes` for the keys of one encoder, some still in parts (`.attn.q.`). */
function rename(
  tensors: Tensors,
  feedForward: ViTConfig["feedForward"],
  hasProjection: boolean,
): Map<string, string> {
  const prefix = prefixOf(tensors);
  const rules = [...renames, ...(feedForward === "swiglu" ? swiGluNames : mlpNames)];
  const keys = new Map<string, string>();
  for (const key of Object.keys(tensors)) {
    const own = key.startsWith(prefix) ? key.slice(prefix.length) : siblings.exec(key)?.[1];
    if (own === undefined) continue;
    let name = rules.reduce((text, [pattern, to]) => text.replace(pattern, to), own);
    // OpenAI's matrix, and timm's classifier of a CLIP
    if (name === "proj" || (hasProjection && name === "head.weight")) name = "projection.weight";
    if (ignored.test(name)) continue;
    const before = keys.get(name);
    check(
      before === undefined,
      () => `checkpoint: expected one tensor for ${name}, got several: ${before} and ${key}`,
    );
    keys.set(name, key);
  }
  return keys;
}

/** What precedes the keys of the encoder: of several (student and teacher), the teacher's. */
function prefixOf(tensors: Tensors): string {
  const prefixes = Object.entries(tensors).flatMap(([key, { shape }]) => {
    const prefix = shape.length === 4 && shape[1] === 3 ? patchEmbedding.exec(key)?.[1] : undefined;
    return prefix === undefined ? [] : [prefix];
  });
  const [prefix = "", ...others] = prefixes;
  if (others.length === 0) return prefix;
  const teachers = prefixes.filter((name) => /teacher|ema/.test(name));
  check(
    teachers.length === 1,
    () =>
      `checkpoint: expected one encoder, got the patch embeddings of ${prefixes.length} (${listSome(prefixes)}). save the one that you mean alone`,
  );
  return teachers[0]!;
}

/**
 * The parameters of `config` in float32 under the names of `vitShapes`, from the tensors of a checkpoint. Tensors that
 * are float32 already, and need no joining, are the same objects.
 *
 * @throws AlignTokError `bad-input` listing missing, left-over or wrongly shaped keys, at most five of each.
 */
export function adaptCheckpoint(config: ViTConfig, tensors: Tensors): Parameters {
  const found: Found = {};
  const isProjected = config.embedding === "projection";
  for (const [name, key] of rename(tensors, config.feedForward, isProjected)) {
    found[name] = toFloat32(tensors[key]!);
  }
  const shapes = vitShapes(config);
  for (const name of Object.keys(found)) {
    const part = /^(head|projection|attn_pool)\./.exec(name)?.[1];
    const wanted: Readonly<Record<string, boolean>> = {
      head: config.classes > 0 || isProjected,
      projection: isProjected,
      attn_pool: config.embedding === "attention",
    };
    if (part && !wanted[part]) delete found[name];
  }
  maskKeyBias(config, found);
  fuse(found);
  splitPool(found);
  fitShapes(found, tensors, shapes);
  giveClassTokenPosition(config, found, shapes);
  checkTensors(found, shapes);
  return Object.fromEntries(Object.keys(shapes).map((name) => [name, found[name]!]));
}

/**
 * DINOv3's keys have no bias: zeros where the file has none, and for what the original's `bias_mask` hides (NaN in
 * files saved before it was filled, so that its values are not looked at). Without a mask, as `saveEncoder` writes a
 * model that was trained further here, the bias is as it stands.
 */
function maskKeyBias(config: ViTConfig, found: Found): void {
  if (config.positions !== "rotary") return;
  const { width: d } = config;
  for (let i = 0; i < config.depth; i++) {
    const name = `blocks.${i}.attn`;
    const bias = found[`${name}.qkv.bias`];
    const isMasked = `${name}.qkv.bias_mask` in found;
    delete found[`${name}.qkv.bias_mask`];
    if (!config.qkvBias) continue;
    if (bias && isMasked) {
      const masked = bias.data.slice();
      masked.fill(0, d, 2 * d);
      found[`${name}.qkv.bias`] = ndarray(masked, bias.shape);
    } else if (`${name}.q.bias` in found) {
      found[`${name}.k.bias`] ??= zeros([d]);
    } else found[`${name}.qkv.bias`] ??= zeros([3 * d]);
    // timm keeps the biases of fused weights apart
    const parts = ["q", "k", "v"].map((part) => `${name}.${part}.bias`);
    if (`${name}.qkv.weight` in found && parts.every((part) => part in found)) {
      found[`${name}.qkv.bias`] = joinRows(parts.map((part) => found[part]!));
      for (const part of parts) delete found[part];
    }
  }
}

function fuse(found: Found): void {
  for (const [parts, whole] of fused) {
    for (const name of Object.keys(found).filter((key) => key.includes(parts[0]!))) {
      const names = parts.map((part) => name.replace(parts[0]!, part));
      if (!names.every((part) => part in found)) continue; // reported as left over
      found[name.replace(parts[0]!, whole)] = joinRows(names.map((part) => found[part]!));
      for (const part of names) delete found[part];
    }
  }
}

/** The one matrix of Hugging Face's pooling: its query, then its keys and values. */
function splitPool(found: Found): void {
  for (const leaf of ["weight", "bias"]) {
    const whole = found[`attn_pool.qkv.${leaf}`];
    const [height = 0] = whole?.shape ?? [];
    if (!whole || height % 3 !== 0) continue;
    found[`attn_pool.q.${leaf}`] = rows(whole, 0, height / 3);
    found[`attn_pool.kv.${leaf}`] = rows(whole, height / 3, height);
    delete found[`attn_pool.qkv.${leaf}`];
  }
}

/** Leading ones that Hugging Face and OpenAI leave out, and OpenAI's projection, which is transposed. */
function fitShapes(found: Found, tensors: Tensors, shapes: ReturnType<typeof vitShapes>): void {
  for (const name of ["cls_token", "pos_embed"]) {
    const [array, shape] = [found[name], shapes[name]];
    if (!array || !shape || array.shape.length >= shape.length) continue;
    found[name] = reshape(array, [
      ...Array(shape.length - array.shape.length).fill(1),
      ...array.shape,
    ]);
  }
  const projection = found["projection.weight"];
  if (projection && Object.keys(tensors).some((key) => /(?:^|\.)proj$/.test(key))) {
    found["projection.weight"] = transposed(projection);
  }
  // timm gives CLIP's projection a bias, which is zero
  if (projection && found["head.bias"]?.data.every((x) => x === 0)) delete found["head.bias"];
}

function transposed({ data, shape }: NdArray<"float32">): NdArray<"float32"> {
  const [height = 0, width = 0] = shape;
  const result = zeros([width, height]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) result.data[x * height + y] = data[y * width + x]!;
  }
  return result;
}

/** timm's register models have no row for the class token, whose position is added to `cls_token` itself. */
function giveClassTokenPosition(
  config: ViTConfig,
  found: Found,
  shapes: ReturnType<typeof vitShapes>,
): void {
  const positions = found.pos_embed;
  const [, expected = 0, d = 0] = shapes.pos_embed ?? [];
  if (!config.classToken || positions?.shape.join() !== `1,${expected - 1},${d}`) return;
  const withClass = zeros([1, expected, d]);
  withClass.data.set(positions.data, d);
  found.pos_embed = withClass;
}

/** Whether the names are those of transformers, rather than of timm or the authors. */
export function isTransformersNamed(tensors: Tensors): boolean {
  return Object.keys(tensors).some(
    (key) => patchEmbedding.test(key) && /embeddings\.patch_embedding/.test(key),
  );
}

/** `config` with the classifier and the embedding that the file has. */
export function fitHeads(config: ViTConfig, tensors: Tensors): ViTConfig {
  const keys = rename(tensors, config.feedForward, config.embedding === "projection");
  const rowsOf = (name: string) => tensors[keys.get(name) ?? ""]?.shape[0] ?? 0;
  const isPresent =
    keys.has("projection.weight") || [...keys.keys()].some((name) => name.startsWith("attn_pool."));
  return {
    ...config,
    classes: config.embedding === "none" ? rowsOf("head.weight") : 0,
    ...(!isPresent && { embedding: "none", embeddingWidth: 0 }),
  };
}

/** The known models that a file may be by its names and shapes: several for those that differ in neither (MAE and ViT). */
export function recogniseModels(tensors: Tensors): ViTModel[] {
  // the same for most models, and slow on the keys of a large one
  const renamed = new Map<string, ReadonlyMap<string, string>>();
  return (Object.keys(vitModels) as ViTModel[]).filter((model) => {
    const config = vitModels[model];
    const { feedForward, embedding } = config;
    const kind = `${feedForward} ${embedding === "projection"}`;
    const keys = renamed.get(kind) ?? rename(tensors, feedForward, embedding === "projection");
    renamed.set(kind, keys);
    return isLike(config, tensors, keys);
  });
}

function isLike(config: ViTConfig, tensors: Tensors, keys: ReadonlyMap<string, string>): boolean {
  const isSwiGlu = config.feedForward === "swiglu";
  const shapes = vitShapes(config);
  const first = (name: string) => tensors[keys.get(name) ?? ""]?.shape;
  const names = [...keys.keys()];
  const depth = new Set(names.map((name) => /^blocks\.(\d+)\./.exec(name)?.[1]).filter(Boolean))
    .size;
  const same = (name: string) => keys.has(name) === name in shapes;
  const rows = first("pos_embed")?.at(-2);
  const wanted = shapes.pos_embed?.[1];
  const hidden =
    first(isSwiGlu ? "blocks.0.mlp.w1.weight" : "blocks.0.mlp.fc1.weight")?.[0] ??
    (first("blocks.0.mlp.w12.weight")?.[0] ?? 0) / 2;
  const isPlain = !names.some((name) => name.startsWith("blocks.0.mlp.w"));
  return (
    first("patch_embed.proj.weight")?.join() === shapes["patch_embed.proj.weight"]?.join() &&
    depth === config.depth &&
    hidden === config.hiddenWidth &&
    (isSwiGlu || isPlain) &&
    (rows === wanted || (config.registers > 0 && rows === (wanted ?? 0) - 1)) &&
    first("register_tokens")?.[1] === shapes.register_tokens?.[1] &&
    ["patch_embed.proj.bias", "cls_token", "norm_pre.weight", "blocks.0.ls1.gamma"].every(same)
  );
}
