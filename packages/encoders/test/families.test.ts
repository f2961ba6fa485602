import { readFile } from "node:fs/promises";
import { readSafetensors } from "@aligntok/checkpoint";
import { type NdArray, sizeOf } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { recogniseModels } from "../src/checkpoint-names.ts";
import {
  adaptCheckpoint,
  applyViT,
  findViTModel,
  formatConfig,
  inputSize,
  loadEncoder,
  parseConfig,
  poolTokens,
  preprocess,
  resamplePositions,
  vitModels,
  vitShapes,
} from "../src/index.ts";
import { toTensors, useEagerBackend } from "./eager.ts";
import { fixture, formulaImages, largestDifference } from "./images.ts";

useEagerBackend();

const names = ["dinov3", "dinov3-gated", "siglip", "siglip-vision", "clip", "clip-vision", "mae"];

describe.each(names)("%s agrees with transformers", async (name) => {
  const { tensors } = await readSafetensors(fixture(`${name}/golden.safetensors`));
  const golden = (key: string) => tensors[key]!.data as Float32Array;

  test.each(["32x32", "40x40", "16x24"])("at %s", async (size) => {
    const [height, width] = size.split("x").map(Number) as [number, number];
    const encoder = await loadEncoder(fixture(name));
    const { config, parameters } = encoder;
    const params = toTensors(resamplePositions(config, parameters, [height / 8, width / 8]));
    const images = formulaImages(2, height, width);
    const x = preprocess(config, tf.tensor4d(images.data, [2, height, width, 3], "float32"));
    const layers = applyViT(config, params, x, { layers: [0, -1], norm: false });
    for (const [i, layer] of layers.entries()) {
      expect(largestDifference(layer.dataSync(), golden(`layer${i}/${size}`))).toBeLessThan(2e-4);
    }
    const tokens = applyViT(config, params, x);
    expect(largestDifference(tokens.dataSync(), golden(`tokens/${size}`))).toBeLessThan(2e-4);
    expect(config.embedding !== "none").toBe(`embedding/${size}` in tensors);
    if (config.embedding !== "none") {
      const embedding = poolTokens(config, params, tokens, "embedding");
      expect(embedding.shape).toEqual([2, config.embeddingWidth]);
      expect(largestDifference(embedding.dataSync(), golden(`embedding/${size}`))).toBeLessThan(
        2e-4,
      );
    }
    const compiled = await encoder.features(images);
    expect(largestDifference(compiled.data, golden(`tokens/${size}`))).toBeLessThan(2e-4);
    if (config.embedding !== "none") {
      const { data } = await encoder.features(images, { pool: "embedding" });
      expect(largestDifference(data, golden(`embedding/${size}`))).toBeLessThan(2e-4);
      await expect(encoder.features(images, { pool: "embedding", layer: 0 })).rejects.toThrow(
        /last layer/,
      );
    }
    encoder.dispose();
  });
});

describe("original names give the same parameters", () => {
  test("OpenAI's CLIP, with its text tower", async () => {
    const { config, parameters } = await loadEncoder(fixture("clip"));
    const original: Record<string, NdArray> = {
      text_projection: parameters["norm.weight"]!,
      "transformer.resblocks.0.ln_1.weight": parameters["norm.weight"]!,
      positional_embedding: parameters["norm.weight"]!,
    };
    for (const [name, value] of Object.entries(parameters)) {
      const key = name
        .replace("patch_embed.proj", "conv1")
        .replace("cls_token", "class_embedding")
        .replace("pos_embed", "positional_embedding")
        .replace("blocks.", "transformer.resblocks.")
        .replace(/norm([12])/, "ln_$1")
        .replace("norm_pre", "ln_pre")
        .replace(/^norm/, "ln_post")
        .replace("attn.qkv.", "attn.in_proj_")
        .replace("attn.proj", "attn.out_proj")
        .replace("mlp.fc1", "mlp.c_fc")
        .replace("mlp.fc2", "mlp.c_proj")
        .replace("projection.weight", "proj");
      let stored = value;
      if (name === "cls_token") stored = { ...value, shape: [16] };
      if (name === "pos_embed") stored = { ...value, shape: value.shape.slice(1) };
      if (name === "projection.weight") {
        const [rows, columns] = value.shape as [number, number];
        const data = Float32Array.from(value.data, (_, i) => {
          return value.data[(i % rows) * columns + Math.floor(i / rows)]!;
        });
        stored = { ...value, data, shape: [columns, rows] };
      }
      original[`visual.${key}`] = stored;
    }
    expect(adaptCheckpoint(config, original)).toEqual(parameters);
  });

  test("DINOv3, with masked key biases, and MAE in its wrapper", async () => {
    const { config, parameters } = await loadEncoder(fixture("dinov3"));
    const original: Record<string, NdArray> = {
      "rope_embed.periods": parameters["norm.weight"]!,
      mask_token: parameters["norm.weight"]!,
      "local_cls_norm.weight": parameters["norm.weight"]!,
    };
    for (const [name, value] of Object.entries(parameters)) {
      original[name.replace("register_tokens", "storage_tokens")] = value;
      if (!name.endsWith("qkv.bias")) continue;
      const biased = value.data.slice().fill(7, 16, 32);
      original[name] = { ...value, data: biased };
      original[`${name}_mask`] = value;
    }
    expect(adaptCheckpoint(config, original)).toEqual(parameters);

    const mae = await loadEncoder(fixture("mae"));
    const wrapped: Record<string, NdArray> = {
      "model.mask_token": parameters["norm.weight"]!,
      "model.decoder_embed.weight": parameters["norm.weight"]!,
      "model.decoder_blocks.0.norm1.weight": parameters["norm.weight"]!,
    };
    for (const [name, value] of Object.entries(mae.parameters)) wrapped[`model.${name}`] = value;
    expect(adaptCheckpoint(mae.config, wrapped)).toEqual(mae.parameters);
  });
});

/** What `a{b,c}[d]` stands for. */
function expand(pattern: string): string[] {
  const [whole, several, optional] = /\{([^}]*)\}|\[([^\]]*)\]/.exec(pattern) ?? [];
  if (whole === undefined) return [pattern];
  const choices = several?.split(",") ?? ["", optional!];
  return choices.flatMap((choice) => expand(pattern.replace(whole, choice)));
}

describe("models", () => {
  test.each([
    ["dinov3_vits16", 21.6],
    ["dinov3_vitb16", 85.66],
    ["dinov3_vitl16", 303.13],
    ["dinov3_vith16plus", 840.5],
    ["dinov3_vit7b16", 6716],
    ["mae_vit_large_patch16", 303.3],
    ["siglip2-so400m-patch14-384", 428.2],
    ["clip-vit-base-patch32", 87.85],
  ] as const)("%s has %f million parameters", (model, expected) => {
    const shapes = Object.values(vitShapes(vitModels[model]));
    const millions = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0) / 1e6;
    expect(Math.abs(millions / expected - 1)).toBeLessThan(2e-3);
  });

  test.each([
    ["facebook/dinov2-large", "dinov2_vitl14"],
    ["facebook/dinov2-with-registers-giant", "dinov2_vitg14_reg"],
    ["vit_small_patch14_reg4_dinov2", "dinov2_vits14_reg"],
    ["facebook/dinov3-vith16plus-pretrain-lvd1689m", "dinov3_vith16plus"],
    ["vit_small_plus_patch16_dinov3.lvd1689m", "dinov3_vits16plus"],
    ["timm/vit_base_patch16_224.mae", "mae_vit_base_patch16"],
    ["facebook/vit-mae-huge", "mae_vit_huge_patch14"],
    ["ViT-L/14@336px", "clip-vit-large-patch14-336"],
    ["openai/clip-vit-base-patch16", "clip-vit-base-patch16"],
    ["vit_base_patch32_clip_224.openai", "clip-vit-base-patch32"],
    ["google/siglip2-large-patch16-256", "siglip2-large-patch16-256"],
    ["google/siglip-base-patch16-256-multilingual", "siglip-base-patch16-256"],
    ["vit_base_patch16_siglip_256.webli_i18n", "siglip-base-patch16-256"],
    ["vit_so400m_patch16_siglip_256.webli_i18n", "siglip-so400m-patch16-256-i18n"],
    ["google/siglip2-giant-opt-patch16-384", "siglip2-giant-opt-patch16-384"],
    ["vit_small_patch16_dinov3_qkvb.lvd1689m", "dinov3_vits16"],
    ["vit_base_patch8_224.augreg_in21k", "vit_base_patch8_224"],
    ["vit_base_patch8_224.augreg_in21k_ft_in1k", "vit_base_patch8_224"],
    ["google/vit-base-patch16-224-in21k", "vit_base_patch16_224"],
    ["vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_tiny_patch16_224"],
  ] as const)("%s is %s", (name, model) => {
    expect(findViTModel(name)).toBe(vitModels[model]);
  });

  test("names that say more than their model's key", () => {
    expect(findViTModel("vit_large_patch14_dinov2.lvd142m")).toEqual({
      ...vitModels.dinov2_vitl14,
      positionResampling: "timm",
    });
    const { mean, std } = vitModels.dinov2_vits14;
    expect(findViTModel("timm/vit_small_patch16_224.dino")).toEqual({
      ...vitModels.vit_small_patch16_224,
      ...{ mean, std, classes: 0 },
    });
    expect(findViTModel("vit_so400m_patch14_siglip_378.v2_webli")).toEqual({
      ...vitModels["siglip2-so400m-patch14-384"],
      imageSize: 378,
      transform: { resize: { height: 378, width: 378 }, filter: "bilinear" },
    });
  });

  test("timm's folders say how images are prepared, whatever their tag", () => {
    const details = { input_size: [3, 518, 518], crop_pct: 1, interpolation: "bilinear" };
    const hub = (architecture: string, own: object = {}) =>
      parseConfig({ architecture, pretrained_cfg: { tag: "mine", ...details, ...own } });
    const dinov2 = hub("vit_small_patch14_dinov2");
    expect(dinov2.transform).toEqual({ resize: 518, filter: "bilinear", crop: 518 });
    expect(dinov2.imageSize).toBe(518);
    const vit = { input_size: [3, 224, 224], crop_pct: 0.9 };
    expect(hub("vit_base_patch16_224", vit).transform).toEqual({
      ...{ resize: 248, filter: "bilinear", crop: 224 },
    });
    const squashed = { ...vit, crop_mode: "squash", interpolation: undefined, crop_pct: undefined };
    expect(hub("vit_base_patch8_224", squashed).transform).toEqual({
      resize: { height: 256, width: 256 },
      filter: "bicubic",
      crop: 224,
    });
    expect(hub("vit_base_patch16_224", { input_size: undefined }).transform).toBe(
      vitModels.vit_base_patch16_224.transform,
    );
    expect(hub("vit_base_patch16_224", { input_size: [3, 384, 384] }).imageSize).toBe(384);
    expect(() => hub("vit_base_patch16_224", { input_size: [3, 224, 448] })).toThrow(
      /input_size: expected a square.*got 224x448/,
    );
    expect(() => hub("vit_base_patch16_224", { input_size: 224 })).toThrow(
      /input_size: expected colours, height and width, got 224/,
    );
    expect(() => hub("vit_base_patch16_clip_224")).toThrow(/got vit_base_patch16_clip_224/);
  });

  test("a lone file is known by its shapes, or may be what the error lists", () => {
    const likely = (model: keyof typeof vitModels) =>
      recogniseModels(
        Object.fromEntries(
          Object.entries(vitShapes(vitModels[model])).map(([name, shape]) => [
            name,
            { dtype: "float32", shape, data: new Float32Array() },
          ]),
        ),
      );
    for (const model of ["dinov2_vitl14", "dinov2_vitg14_reg", "dinov3_vith16plus"] as const) {
      expect(likely(model)).toEqual([model]);
    }
    expect(likely("clip-vit-large-patch14-336")).toEqual(["clip-vit-large-patch14-336"]);
    expect(likely("vit_base_patch16_224")).toEqual([
      "vit_base_patch16_224",
      "mae_vit_base_patch16",
    ]);
    expect(likely("siglip2-so400m-patch16-384")).toEqual(["siglip2-so400m-patch16-384"]);
    expect(likely("siglip2-base-patch16-224")).toEqual([
      "siglip-base-patch16-224",
      "siglip2-base-patch16-224",
    ]);
  });

  test("preprocessor_config.json says how images are prepared", () => {
    const clip = parseConfig(
      { model_type: "clip", projection_dim: 512, vision_config: {} },
      {
        size: { shortest_edge: 224 },
        resample: 3,
        do_center_crop: true,
        crop_size: { height: 224, width: 224 },
        image_mean: [0.1, 0.2, 0.3],
        image_std: [1, 2, 3],
      },
    );
    expect(clip).toEqual({
      ...vitModels["clip-vit-base-patch32"],
      transform: { resize: 224, filter: "bicubic", crop: 224, cropRounding: "floor" },
      mean: [0.1, 0.2, 0.3],
      std: [1, 2, 3],
      positionResampling: "huggingface",
    });
    const siglip = parseConfig(
      { model_type: "siglip", vision_config: { image_size: 256 } },
      { size: { height: 256, width: 256 }, resample: 2, image_mean: [0.5, 0.5, 0.5] },
    );
    expect(siglip.transform).toEqual({
      resize: { height: 256, width: 256 },
      filter: "bilinear",
    });
  });

  test("image_size may be height and width", () => {
    const sizes = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, patch_size: 14 };
    const sized = (image_size: unknown) =>
      parseConfig({ model_type: "dinov2", ...sizes, image_size });
    expect(sized([224, 224])).toEqual(sized(224));
    const wide = sized([114, 224]); // two pixels of 114 are in no patch
    expect(wide.imageSize).toEqual([114, 224]);
    expect(vitShapes(wide).pos_embed).toEqual([1, 1 + 8 * 16, 8]);
    expect(wide.transform.resize).toEqual({ height: 114, width: 224 });
    expect(parseConfig(formatConfig(wide))).toEqual(wide);
    expect(() => sized([224])).toThrow(
      /image_size: expected a whole number, or height and width, got \[224\]/,
    );
    expect(() => sized([14, 7])).toThrow(/an image of at least one patch, got .* image 14,7/);
  });

  test("the README lists every key and no other", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const rows = readme.split("\n").filter((line) => /^\| .* \| Hugging Face.*timm \|$/.test(line));
    const listed = rows.flatMap((row) =>
      [...row.split(" | ")[1]!.matchAll(/`([^`]+)`/g)].flatMap(([, pattern]) => expand(pattern!)),
    );
    expect(listed.sort()).toEqual(Object.keys(vitModels).sort());
  });

  test("NaFlex and unknown names are refused", () => {
    expect(() => findViTModel("google/siglip2-base-patch16-naflex")).toThrow(/NaFlex/);
    expect(() => parseConfig({ model_type: "siglip2" })).toThrow(/NaFlex/);
    expect(() => findViTModel("resnet50")).toThrow(/got resnet50/);
  });

  test("256 pixels become 224 for patches of 14", () => {
    expect(inputSize(vitModels.dinov2_vitl14, 256)).toBe(224);
    expect(inputSize(vitModels.dinov3_vitl16, 256)).toBe(256);
    expect(() => inputSize(vitModels.dinov2_vitl14, 250)).toThrow(/multiple of 16, got 250/);
  });
});
