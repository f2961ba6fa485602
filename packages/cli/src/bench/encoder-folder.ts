/** A folder as `save_pretrained` of transformers writes it, with random weights: what the contestants of `encode-cases.ts` load. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "@aligntok/checkpoint";
import { type NdArray, rows, zeros } from "@aligntok/core";
import { type ViTConfig, type ViTModel, vitModels, vitShapes } from "@aligntok/encoders";
import { createWeights } from "./weights.ts";

/** Names of `vitShapes` to those of transformers' Dinov2Model; of the query, key and value those of the first. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/^patch_embed\.proj\./, "embeddings.patch_embeddings.projection."],
  [/^cls_token$/, "embeddings.cls_token"],
  [/^pos_embed$/, "embeddings.position_embeddings"],
  [/^norm\./, "layernorm."],
  [/^blocks\./, "encoder.layer."],
  [/\.attn\.proj\./, ".attention.output.dense."],
  [/\.ls([12])\.gamma$/, ".layer_scale$1.lambda1"],
];

/** Writes `config.json`, `preprocessor_config.json` and `model.safetensors` of a DINOv2 into a folder, made where absent. */
export async function writeEncoderFolder(folder: string, model: ViTModel): Promise<void> {
  const config: ViTConfig = vitModels[model];
  const { width, depth, heads, patchSize, imageSize, eps, mean, std, transform } = config;
  const tensors: Record<string, NdArray> = { "embeddings.mask_token": zeros([1, width]) };
  for (const [name, array] of Object.entries(createWeights(vitShapes(config)))) {
    const [, block, leaf] = /^blocks\.(\d+)\.attn\.qkv\.(.*)$/.exec(name) ?? [];
    if (block === undefined) {
      tensors[renames.reduce((text, [from, to]) => text.replace(from, to), name)] = array;
      continue;
    }
    for (const [i, part] of ["query", "key", "value"].entries()) {
      const key = `encoder.layer.${block}.attention.attention.${part}.${leaf}`;
      tensors[key] = rows(array, i * width, (i + 1) * width);
    }
  }
  // exporters would keep equal matrices once
  for (const [i, { data }] of Object.values(tensors).entries())
    (data as Float32Array)[0]! += i / 1000;
  await mkdir(folder, { recursive: true });
  await writeSafetensors(join(folder, "model.safetensors"), tensors, {
    metadata: { format: "pt" },
  });
  await writeJson(join(folder, "config.json"), {
    architectures: ["Dinov2Model"],
    model_type: "dinov2",
    hidden_size: width,
    num_hidden_layers: depth,
    num_attention_heads: heads,
    mlp_ratio: 4,
    image_size: imageSize,
    patch_size: patchSize,
    layer_norm_eps: eps,
  });
  await writeJson(join(folder, "preprocessor_config.json"), {
    image_processor_type: "BitImageProcessor",
    do_convert_rgb: true,
    do_resize: true,
    size: { shortest_edge: transform.resize },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: transform.crop, width: transform.crop },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
  });
}

function writeJson(path: string, value: object): Promise<void> {
  return writeFile(path, JSON.stringify(value));
}
