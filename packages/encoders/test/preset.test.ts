import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "@aligntok/checkpoint";
import { type Parameters, rows, zeros } from "@aligntok/core";
import { encodePng } from "@aligntok/image";
import { writePytorch } from "@aligntok/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { transformersOwn } from "../src/config-file.ts";
import {
  formatConfig,
  loadEncoder,
  parseConfig,
  type ViTConfig,
  type ViTModel,
  vitModels,
  vitShapes,
} from "../src/index.ts";
import { formulaImages } from "./images.ts";

/** The `config.json` that transformers would write for a known model. */
function transformersJson(model: ViTModel): object {
  const config: ViTConfig = vitModels[model];
  const own = {
    hidden_size: config.width,
    num_hidden_layers: config.depth,
    num_attention_heads: config.heads,
    intermediate_size: config.hiddenWidth,
    patch_size: config.patchSize,
    image_size: config.imageSize,
  };
  if (/^siglip/.test(model)) {
    const text = { vocab_size: model.startsWith("siglip2") ? 256_000 : 32_000 };
    return { model_type: "siglip", vision_config: own, text_config: text };
  }
  if (/^clip/.test(model)) {
    return { model_type: "clip", vision_config: own, projection_dim: config.embeddingWidth };
  }
  if (/^dinov3/.test(model)) {
    const gated = config.feedForward === "swiglu";
    return {
      ...{ ...own, model_type: "dinov3_vit", num_register_tokens: 4, use_gated_mlp: gated },
      ...{ hidden_act: gated ? "silu" : "gelu" },
      ...(!config.qkvBias && { query_bias: false, value_bias: false }),
    };
  }
  if (/^dinov2/.test(model)) {
    const type = `dinov2${config.registers ? "_with_registers" : ""}`;
    return { ...own, model_type: type, use_swiglu_ffn: config.feedForward === "swiglu" };
  }
  return { ...own, model_type: model.startsWith("mae") ? "vit_mae" : "vit" };
}

describe("without preprocessor_config.json", () => {
  test.each(Object.keys(vitModels) as ViTModel[])(
    "%s is the same from a folder and from a lone file",
    (model) => {
      const lone = { ...transformersOwn(vitModels[model]), classes: 0 };
      expect(parseConfig(transformersJson(model))).toEqual(lone);
      const { transform: _, ...fields } = formatConfig({ ...vitModels[model], classes: 0 });
      const { filter } = vitModels[model].transform;
      if (filter !== "bicubic") return; // of a filter, fields of timm say nothing
      expect(parseConfig(fields)).toEqual({ ...vitModels[model], classes: 0 });
    },
  );

  test("sizes of no known model are prepared at their own size, as the family does it", () => {
    const sizes = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, image_size: 32 };
    const json = { ...sizes, patch_size: 8, intermediate_size: 16 };
    const transform = (model_type: string) => parseConfig({ ...json, model_type }).transform;
    expect(transform("dinov2")).toEqual({ resize: 32, filter: "bicubic", crop: 32 });
    expect(transform("dinov3_vit")).toEqual({
      resize: { height: 32, width: 32 },
      filter: "bilinear",
    });
  });
});

test("preprocessor_config.json goes before the table", () => {
  const json = transformersJson("siglip-so400m-patch14-384");
  const size = { height: 384, width: 384 };
  expect(parseConfig(json, { size, resample: 2 }).transform).toEqual({
    resize: { height: 384, width: 384 },
    filter: "bilinear",
  });
  const vit = parseConfig(transformersJson("vit_base_patch16_224"), {
    size: { height: 224, width: 224 },
    resample: 2,
  });
  expect(vit.transform).toEqual({ resize: { height: 224, width: 224 }, filter: "bilinear" });
  const dinov2 = parseConfig(transformersJson("dinov2_vits14"), {
    size: { shortest_edge: 256 },
    crop_size: { height: 224, width: 224 },
  });
  expect(dinov2.transform).toMatchObject({ resize: 256, crop: 224, cropRounding: "floor" });
  expect(parseConfig(formatConfig(dinov2)).transform).toEqual(dinov2.transform);
});

describe("the same weights give the same bits", () => {
  let root: string;
  let photograph: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "aligntok-preset-"));
    photograph = join(root, "photograph.png");
    const { data } = formulaImages(1, 300, 400);
    await writeFile(photograph, await encodePng({ dtype: "uint8", shape: [300, 400, 3], data }));
  });
  afterAll(() => rm(root, { recursive: true }));

  test.each([
    ["vit_tiny_patch16_224", "vit"],
    ["dinov2_vits14", ""],
  ] as const)("%s as a folder, .safetensors and .pth", async (model, prefix) => {
    const config = { ...vitModels[model], classes: 0 };
    const tensors = transformersNames(arbitraryWeights(config), prefix);
    const folder = join(root, model);
    await mkdir(folder);
    await writeFile(join(folder, "config.json"), JSON.stringify(transformersJson(model)));
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
    await writePytorch(`${folder}.pth`, tensors);
    const results: Float32Array[] = [];
    for (const path of [folder, join(folder, "model.safetensors"), `${folder}.pth`]) {
      const encoder = await loadEncoder(path, { model, threads: 1 });
      for await (const { features } of encoder.featuresOf([photograph])) {
        results.push(features.data);
      }
      encoder.dispose();
    }
    expect(results).toHaveLength(3);
    expect(results[0]!.every(Number.isFinite)).toBe(true);
    for (const other of results.slice(1)) expect(other).toEqual(results[0]);
  });
});

/** Quicker than normal ones, of which DINOv2 takes 22 million. */
function arbitraryWeights(config: ViTConfig): Parameters {
  return Object.fromEntries(
    Object.entries(vitShapes(config)).map(([name, shape], k) => {
      const array = zeros(shape);
      for (let i = 0; i < array.data.length; i++) {
        array.data[i] = (((i * 7919 + k * 263) % 2003) / 2003 - 0.5) * 0.08;
      }
      return [name, array];
    }),
  );
}

/** Our names as ViT and DINOv2 of transformers have them in files. */
function transformersNames(parameters: Parameters, family: "vit" | ""): Parameters {
  const block = "encoder.layer.$1.";
  const vit: readonly (readonly [RegExp, string])[] = [
    [/^blocks\.(\d+)\.norm1/, `${block}layernorm_before`],
    [/^blocks\.(\d+)\.norm2/, `${block}layernorm_after`],
    [/^blocks\.(\d+)\.mlp\.fc1/, `${block}intermediate.dense`],
    [/^blocks\.(\d+)\.mlp\.fc2/, `${block}output.dense`],
  ];
  const rules: readonly (readonly [RegExp, string])[] = [
    ...(family === "vit" ? vit : []),
    [/^blocks\.(\d+)\.attn\.proj/, `${block}attention.output.dense`],
    [/^blocks\.(\d+)\.ls(\d)\.gamma/, `${block}layer_scale$2.lambda1`],
    [/^blocks\.(\d+)\./, block],
    [/^patch_embed\.proj/, "embeddings.patch_embeddings.projection"],
    [/^pos_embed/, "embeddings.position_embeddings"],
    [/^cls_token/, "embeddings.cls_token"],
    [/^norm\./, "layernorm."],
  ];
  const renamed: Record<string, Parameters[string]> = {};
  for (const [name, value] of Object.entries(parameters)) {
    const key = rules.reduce((text, [pattern, to]) => text.replace(pattern, to), name);
    if (!key.includes("attn.qkv")) {
      renamed[key] = value;
      continue;
    }
    const third = value.shape[0]! / 3;
    for (const [i, part] of ["query", "key", "value"].entries()) {
      const own = key.replace("attn.qkv", `attention.attention.${part}`);
      renamed[own] = rows(value, i * third, (i + 1) * third);
    }
  }
  return renamed;
}
