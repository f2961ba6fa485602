import { readFile } from "node:fs/promises";
import { readSafetensors } from "@aligntok/checkpoint";
import { type NdArray, ndarray, toFloat32 } from "@aligntok/core";
import { compile, specOf } from "@aligntok/jit";
import { sharedData } from "@aligntok/testing";
import { describe, expect, test } from "vitest";
import { applyInception, inceptionScopes } from "../src/index.ts";

const file = sharedData("fid-inception-2015", "model.safetensors");
if (!file) console.warn("skipped: the weights of Inception (../shared/data) are absent");

/** The file's names are those of TensorFlow's graph with `_` for `/`. */
async function readWeights(path: string): Promise<Record<string, NdArray<"float32">>> {
  const { tensors } = await readSafetensors(path);
  const found = Object.entries(inceptionScopes()).flatMap(([scope, name]) =>
    ["weight", "bias"].flatMap((part) => {
      const tensor = tensors[`${scope.replaceAll("/", "_")}.${part}`];
      return tensor ? [[`${name}.${part}`, toFloat32(tensor)] as const] : [];
    }),
  );
  return Object.fromEntries(found);
}

describe.skipIf(!file)("the network of 2015", () => {
  test.each([64, 192, 768] as const)("features %i of the closed-form image", async (features) => {
    const expected: number[] = JSON.parse(
      await readFile(sharedData("fixtures", "expected_values.json")!, "utf8"),
    ).fid_inception[features];
    const pixels = Float32Array.from({ length: 3 * 299 * 299 }, (_, i) => {
      const [c, y, x] = [Math.floor(i / 299 ** 2), Math.floor(i / 299) % 299, i % 299];
      return (2 * ((37 * y + 91 * x + 13 * c) % 256)) / 255 - 1;
    });
    const images = ndarray(pixels, [1, 3, 299, 299]);
    const network = await compile(
      ({ images, params }) => applyInception(params, images, { features }),
      { images: specOf(images) },
      { bind: { params: await readWeights(file!) } },
    );
    const { shape, data } = await network.run({ images });
    network.dispose();
    expect(shape).toEqual([1, features]);
    for (const [i, value] of expected.entries()) expect(data[i]).toBeCloseTo(value, 4);
  });
});
