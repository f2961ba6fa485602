import { fileURLToPath } from "node:url";
import { readSafetensors } from "@aligntok/checkpoint";
import { createRandom, type NdArray, ndarray, type Parameters } from "@aligntok/core";
import {
  initLightningDit,
  isFixedParameter,
  type LightningDitConfig,
} from "../src/lightningdit.ts";

/** What PyTorch computed for one variant of the model. */
export async function readGolden(variant: string): Promise<{
  config: LightningDitConfig;
  golden: Record<string, NdArray<"float32">>;
}> {
  const path = fileURLToPath(
    new URL(`fixtures/lightningdit-${variant}.safetensors`, import.meta.url),
  );
  const { tensors, metadata } = await readSafetensors(path);
  return {
    config: JSON.parse(metadata.config!),
    golden: tensors as Record<string, NdArray<"float32">>,
  };
}

/** The generator of tools/golden/diffusion-lightningdit.py: numbers in [-0.5, 0.5) as float32. */
export function draw(seed: number, shape: readonly number[]): Float32Array {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = state / 2 ** 32 - 0.5;
  }
  return values;
}

/** The weights of tools/golden/diffusion-lightningdit.py, beside the position tables. */
export function goldenParameters(config: LightningDitConfig): Parameters {
  const initial = initLightningDit(config, createRandom(0));
  const names = Object.keys(initial)
    .filter((name) => !isFixedParameter(name))
    .sort();
  const drawn = names.map((name, i) => {
    const { shape } = initial[name]!;
    const offset = name.includes("norm") ? 1 : 0;
    return [
      name,
      ndarray(
        draw(i, shape).map((x) => x + offset),
        shape,
      ),
    ];
  });
  return { ...initial, ...Object.fromEntries(drawn) };
}
