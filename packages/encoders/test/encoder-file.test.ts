import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, type NdArray, ndarray, rows } from "@aligntok/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  adaptCheckpoint,
  createEncoder,
  formatConfig,
  initViT,
  type LoadEncoderOptions,
  loadEncoder,
  parseConfig,
  saveEncoder,
  vitModels,
  vitShapes,
} from "../src/index.ts";
import { errorOf } from "./error-of.ts";
import { fixture, largestDifference } from "./images.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-encoders-"));
});
afterEach(() => rm(folder, { recursive: true }));

const tiny = parseConfig({
  embed_dim: 8,
  depth: 1,
  num_heads: 2,
  patch_size: 4,
  image_size: 8,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
});

describe("names", () => {
  test("the sizes of the models are the published ones", () => {
    const millions = (model: keyof typeof vitModels) =>
      Object.values(vitShapes(vitModels[model])).reduce(
        (sum, shape) => sum + shape.reduce((product, n) => product * n, 1),
        0,
      ) / 1e6;
    expect(millions("dinov2_vits14")).toBeCloseTo(22.06, 2);
    expect(millions("dinov2_vitb14")).toBeCloseTo(86.58, 2);
    expect(millions("dinov2_vitl14")).toBeCloseTo(304.37, 2);
    expect(millions("dinov2_vitg14")).toBeCloseTo(1136.48, 2);
    expect(millions("vit_tiny_patch16_224")).toBeCloseTo(5.72, 2);
  });

  test("transformers 5's names in memory mean the same as those on the Hub", async () => {
    for (const name of ["dinov2-with-registers", "vit"]) {
      const { tensors } = await readSafetensors(fixture(`${name}/model.safetensors`));
      const { config, parameters } = await loadEncoder(fixture(name));
      const renamed: Record<string, NdArray> = {};
      for (const [key, value] of Object.entries(tensors)) {
        const memory = key
          .replace(/attention\.attention\.(q|k|v)(uery|ey|alue)/, "attention.$1_proj")
          .replace("attention.output.dense", "attention.o_proj")
          .replace("weights_out", "down_proj")
          .replace(/^vit\.encoder\.layer/, "vit.layers")
          .replace("intermediate.dense", "mlp.fc1")
          .replace(/(\d)\.output\.dense/, "$1.mlp.fc2");
        if (memory.includes("weights_in")) {
          const half = value.shape[0]! / 2;
          renamed[memory.replace("weights_in", "gate_proj")] = rows(value, 0, half);
          renamed[memory.replace("weights_in", "up_proj")] = rows(value, half, 2 * half);
        } else renamed[memory] = value;
      }
      expect(Object.keys(renamed)).not.toEqual(Object.keys(tensors));
      expect(adaptCheckpoint(config, renamed)).toEqual(parameters);
    }
  });

  test("timm's registers and original DINOv2 with a wrapper's prefix", () => {
    const config = { ...tiny, registers: 2, feedForward: "swiglu" as const, layerScale: true };
    const original = initViT(config, createRandom(0, "weights"));
    const prefixed = Object.fromEntries(
      Object.entries(original).map(([name, value]) => [`module.backbone.${name}`, value]),
    );
    expect(
      adaptCheckpoint(config, { ...prefixed, mask_token: ndarray(new Float32Array(8), [1, 8]) }),
    ).toEqual(original);

    const { pos_embed, register_tokens, ...rest } = original;
    const timm: Record<string, NdArray> = {
      reg_token: register_tokens!,
      pos_embed: ndarray(pos_embed!.data.subarray(8), [1, 4, 8]),
    };
    for (const [name, value] of Object.entries(rest)) {
      timm[name.replace("w12", "fc1").replace("w3", "fc2")] = value;
    }
    const adapted = adaptCheckpoint(config, timm);
    expect([...adapted.pos_embed!.data.subarray(0, 8)]).toEqual(Array(8).fill(0));
    expect({ ...adapted, pos_embed }).toEqual(original);
  });

  test("missing, left-over and wrongly shaped keys are listed, five at most", () => {
    const whole = initViT(tiny, createRandom(0, "weights"));
    const { "norm.weight": norm, ...rest } = whole;
    expect(() =>
      adaptCheckpoint(tiny, { ...rest, surprise: norm!, cls_token: rest.pos_embed! }),
    ).toThrow(
      /1 missing \(norm\.weight\); 1 unknown \(surprise\); 1 of another shape \(cls_token \[1,5,8\] instead of \[1,1,8\]\)/,
    );
    expect(() => adaptCheckpoint(tiny, {})).toThrow(/18 missing \(.*(, .*){4} and 13 more\)/);
    expect(() => adaptCheckpoint(tiny, { ...whole, "layernorm.weight": norm! })).toThrow(
      /got several/,
    );
  });
});

describe("files", () => {
  test("saved encoders are read back, float16 rounded", async () => {
    const config = { ...tiny, classes: 3, registers: 1, hiddenWidth: 20, layerScale: true };
    const encoder = createEncoder(config, createRandom(0, "weights"));
    await saveEncoder(folder, encoder);
    const same = await loadEncoder(folder);
    expect(same.parameters["norm.weight"]!.source).toBeDefined(); // mapped, not read
    expect(same.config).toEqual(config);
    expect(same.parameters).toEqual(encoder.parameters);
    await saveEncoder(folder, encoder, { dtype: "float16" });
    const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
    expect(tensors["head.weight"]!.dtype).toBe("float16");
    const rounded = (await loadEncoder(folder)).parameters["head.weight"]!.data;
    const exact = encoder.parameters["head.weight"]!.data;
    expect(largestDifference(rounded, exact)).toBeLessThan(5e-5);
    for (const model of Object.values(vitModels)) {
      expect(parseConfig(formatConfig(model))).toEqual(model);
    }
  });

  test("a DINOv3 that was trained here keeps the biases of its keys", async () => {
    const config = { ...vitModels.dinov3_vits16, width: 8, depth: 1, heads: 1, hiddenWidth: 16 };
    const { parameters } = createEncoder(config, createRandom(0, "weights"));
    parameters["blocks.0.attn.qkv.bias"]!.data.fill(0.5);
    await saveEncoder(folder, { config, parameters });
    expect((await loadEncoder(folder)).parameters).toEqual(parameters);
  });

  test("a lone file needs the name of its model, and must be of that model", async () => {
    const path = join(folder, "weights.safetensors");
    await writeSafetensors(path, initViT(tiny, createRandom(0, "weights")));
    expect((await errorOf(loadEncoder(path))).message).toMatch(
      /got names and shapes of no known model.*option model/,
    );
    const error = await errorOf(loadEncoder(path, { model: "dinov2_vits14" }));
    expect(error.code).toBe("bad-input");
    expect(error.message).toMatch(/missing \(blocks\.0\.ls1\.gamma, /);
  });

  test("normalisation of preprocessor_config.json, resampling by option", async () => {
    const config = {
      model_type: "dinov2",
      hidden_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      patch_size: 4,
      image_size: 8,
    };
    const statistics = { image_mean: [0.1, 0.2, 0.3], image_std: [1, 2, 3] };
    const { parameters } = createEncoder(parseConfig(config), createRandom(0, "weights"));
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    await writeSafetensors(join(folder, "model.safetensors"), parameters);
    expect((await loadEncoder(folder)).config.mean).toEqual([0.485, 0.456, 0.406]);
    await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(statistics));
    const loaded = await loadEncoder(folder, { positionResampling: "dinov2" });
    expect(loaded.config).toMatchObject({
      mean: [0.1, 0.2, 0.3],
      std: [1, 2, 3],
      positionResampling: "dinov2",
    });
  });

  test("options of other values are refused", async () => {
    await saveEncoder(folder, createEncoder(tiny, createRandom(0, "weights")));
    const message = async (options: object) =>
      (await errorOf(loadEncoder(folder, options as LoadEncoderOptions))).message;
    expect(await message({ precision: "int4" })).toMatch(/precision: expected float32.*got int4/);
    expect(await message({ positionResampling: "area" })).toMatch(
      /positionResampling: expected timm, dinov2, huggingface, got area/,
    );
    expect(await message({ model: "vit_nonsense" })).toMatch(/got vit_nonsense/);
    expect(await message({ model: "vit_tiny_patch16_224" })).toMatch(
      /config\.json of vit_tiny_patch16_224 \(width 192, .*got width 8, depth 1, patches of 4/,
    );
  });

  test("weights are not written over themselves, while they are read from there", async () => {
    const random = createEncoder(tiny, createRandom(0, "weights"));
    await saveEncoder(folder, random);
    const loaded = await loadEncoder(folder);
    const error = await errorOf(saveEncoder(folder, loaded));
    expect(error.code).toBe("bad-input");
    expect(error.message).toMatch(/save to a new folder/);
    expect(loaded.parameters).toEqual(random.parameters);
    await saveEncoder(folder, random);
    await saveEncoder(join(folder, "copy"), await loadEncoder(folder));
    expect((await loadEncoder(join(folder, "copy"))).parameters).toEqual(random.parameters);
  });

  test("what cannot be read says why", async () => {
    expect((await errorOf(loadEncoder(join(folder, "absent")))).code).toBe("not-found");
    expect((await errorOf(loadEncoder(folder))).message).toMatch(/no config\.json/);
    const write = (text: string) => writeFile(join(folder, "config.json"), text);
    await write("{");
    expect((await errorOf(loadEncoder(folder))).code).toBe("bad-format");
    await write(JSON.stringify({ model_type: "swin" }));
    expect((await errorOf(loadEncoder(folder))).message).toMatch(/model_type.*got swin/);
    await write(JSON.stringify({ ...formatConfig(tiny), depth: 1e9 }));
    expect((await errorOf(loadEncoder(folder))).message).toMatch(/depth.*got 1000000000/);
    await write(JSON.stringify({ ...formatConfig(tiny), num_heads: 3 }));
    expect((await errorOf(loadEncoder(folder))).message).toMatch(/width 8, 3 heads/);
    await write(JSON.stringify({ ...formatConfig(tiny), mean: "0.5" }));
    expect((await errorOf(loadEncoder(folder))).message).toMatch(/mean: expected three numbers/);
  });
});
