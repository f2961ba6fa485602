/**
 * Names and shapes of timm's checkpoints, as written down in timm-names.json from its source (timm/models/eva.py and
 * vision_transformer.py at aa4b585): `block` is of each of the `depth` blocks.
 */
import { readFileSync } from "node:fs";
import { type NdArray, zeros } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { fitHeads, recogniseModels } from "../src/checkpoint-names.ts";
import {
  adaptCheckpoint,
  findViTModel,
  type ViTConfig,
  type ViTModel,
  vitModels,
  vitShapes,
} from "../src/index.ts";
import { fixture } from "./images.ts";

interface Checkpoint {
  readonly model: ViTModel;
  readonly depth: number;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly block: Readonly<Record<string, readonly number[]>>;
}

const checkpoints: Readonly<Record<string, Checkpoint>> = JSON.parse(
  readFileSync(fixture("timm-names.json"), "utf8"),
);

function tensorsOf(
  { shapes, block }: Checkpoint,
  depth: number,
  make: (shape: readonly number[], key: string) => NdArray,
): Record<string, NdArray> {
  const all = Object.entries(shapes);
  for (let i = 0; i < depth; i++) {
    for (const [name, shape] of Object.entries(block)) all.push([`blocks.${i}.${name}`, shape]);
  }
  return Object.fromEntries(all.map(([key, shape]) => [key, make(shape, key)]));
}

describe.each(Object.entries(checkpoints))("%s", (name, checkpoint) => {
  test("is recognised by name and by shapes", () => {
    const { model, depth } = checkpoint;
    expect(findViTModel(name)).toBe(vitModels[model]);
    const described = tensorsOf(checkpoint, depth, (shape) => ({
      ...{ dtype: "float32", shape, data: new Float32Array() },
    }));
    expect(recogniseModels(described)).toContain(model);
  });
});

/** The first block of a checkpoint, each tensor filled with a number of its own, and what is made of it. */
function adapted(name: string) {
  const numbers = new Map<string, number>();
  const tensors = tensorsOf(checkpoints[name]!, 1, (shape, key) => {
    const array = zeros(shape);
    // timm gives CLIP's projection a bias of zeros
    if (key !== "head.bias") array.data.fill(numbers.set(key, numbers.size + 1).get(key)!);
    return array;
  });
  const known: ViTConfig = { ...findViTModel(name), depth: 1 };
  const config = fitHeads(known, tensors);
  expect(config).toEqual(known);
  const parameters = adaptCheckpoint(config, tensors);
  const shapes = Object.entries(parameters).map(([key, { shape }]) => [key, shape]);
  expect(Object.fromEntries(shapes)).toEqual(vitShapes(config));
  return {
    numberOf: (key: string) => numbers.get(key)!,
    firstAndLast: (key: string) => [parameters[key]!.data[0], parameters[key]!.data.at(-1)],
    dataOf: (key: string) => parameters[key]!.data,
  };
}

describe("parameters from timm's tensors", () => {
  test("DINOv3's SwiGLU: the gate first, then what it multiplies; no biases are zeros", () => {
    const { numberOf, firstAndLast, dataOf } = adapted("vit_small_plus_patch16_dinov3.lvd1689m");
    for (const leaf of ["weight", "bias"]) {
      expect(firstAndLast(`blocks.0.mlp.w12.${leaf}`)).toEqual([
        numberOf(`blocks.0.mlp.fc1_g.${leaf}`),
        numberOf(`blocks.0.mlp.fc1_x.${leaf}`),
      ]);
      expect(dataOf(`blocks.0.mlp.w3.${leaf}`)[0]).toBe(numberOf(`blocks.0.mlp.fc2.${leaf}`));
    }
    expect(dataOf("blocks.0.ls2.gamma")[0]).toBe(numberOf("blocks.0.gamma_2"));
    expect(dataOf("register_tokens")[0]).toBe(numberOf("reg_token"));
    expect(dataOf("blocks.0.attn.qkv.bias").every((x) => x === 0)).toBe(true);
  });

  test("DINOv3's biases of queries and values, with zeros for the keys between them", () => {
    const { numberOf, dataOf } = adapted("vit_small_plus_patch16_dinov3_qkvb.lvd1689m");
    const bias = dataOf("blocks.0.attn.qkv.bias");
    const expected = [numberOf("blocks.0.attn.q_bias"), 0, numberOf("blocks.0.attn.v_bias")];
    expect([bias[0], bias[384], bias[768]]).toEqual(expected);
    expect([bias[383], bias[767], bias[1151]]).toEqual(expected);
  });

  test("CLIP's head is the projection; SigLIP's pooling has its own names already", () => {
    const clip = adapted("vit_base_patch32_clip_quickgelu_224.openai");
    expect(clip.dataOf("projection.weight")[0]).toBe(clip.numberOf("head.weight"));
    const siglip = adapted("vit_base_patch16_siglip_224.webli");
    for (const key of ["attn_pool.latent", "attn_pool.kv.weight", "attn_pool.mlp.fc2.bias"]) {
      expect(siglip.dataOf(key)[0]).toBe(siglip.numberOf(key));
    }
  });
});
