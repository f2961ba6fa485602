/** Images as the processors of transformers prepare them: tools/golden/encoders-preprocessing.py. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors } from "@aligntok/checkpoint";
import { ndarray, reshape } from "@aligntok/core";
import { type Image, transformImage } from "@aligntok/image";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadEncoder, parseConfig, preprocess } from "../src/index.ts";
import { useEagerBackend } from "./eager.ts";
import { fixture, formulaImages, largestDifference } from "./images.ts";

useEagerBackend();

const { tensors } = await readSafetensors(fixture("preprocessing.safetensors"));
const described: Readonly<Record<string, { config: object; preprocessor: object }>> = JSON.parse(
  await readFile(fixture("preprocessing.json"), "utf8"),
);

function picture(height: number, width: number): Image {
  return reshape(formulaImages(1, height, width), [height, width, 3]);
}

/** (H, W, 3) to (3, H, W). */
function coloursFirst({ data, shape }: Image): Uint8Array {
  const area = shape[0]! * shape[1]!;
  return data.map((_, i) => data[(i % area) * 3 + Math.floor(i / area)]!);
}

describe.each(Object.entries(described))("%s", (name, { config: json, preprocessor }) => {
  const config = parseConfig(json, preprocessor);

  test.each([
    [45, 61],
    [61, 39],
    [33, 47],
  ])("%i x %i has the pixels of transformers", (height, width) => {
    const expected = tensors[`${name}/${height}x${width}`]!;
    const image = transformImage(picture(height, width), config.transform);
    expect([3, image.shape[0], image.shape[1]]).toEqual(expected.shape);
    expect(coloursFirst(image)).toEqual(expected.data);
  });

  test("is normalised as by transformers", () => {
    const { data } = transformImage(picture(33, 47), config.transform);
    const pixel = preprocess(config, tf.tensor4d(data.subarray(0, 3), [1, 1, 1, 3], "float32"));
    const expected = tensors[`${name}/normalised`]!.data as Float32Array;
    expect(largestDifference(pixel.dataSync(), expected)).toBeLessThan(1e-5);
  });
});

describe("a SigLIP with images of 36 px and patches of 8", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "aligntok-siglip-"));
    await cp(fixture("siglip-vision"), folder, { recursive: true });
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
    const size = { height: 36, width: 36 };
    const half = [0.5, 0.5, 0.5];
    const preprocessor = { size, resample: 3, image_mean: half, image_std: half };
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, image_size: 36 }));
    await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(preprocessor));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("leaves the last pixels out, as transformers does", async () => {
    const encoder = await loadEncoder(folder, { threads: 1 });
    const expected = tensors["tokens/45x61"]!;
    const batches = [];
    for await (const { features } of encoder.featuresOf([picture(45, 61)])) batches.push(features);
    expect(batches).toHaveLength(1);
    expect(batches[0]!.shape).toEqual(expected.shape);
    expect(largestDifference(batches[0]!.data, expected.data as Float32Array)).toBeLessThan(2e-4);

    const { data } = transformImage(picture(45, 61), { resize: { height: 36, width: 36 } });
    const tokens = await encoder.features(ndarray(data, [1, 36, 36, 3], "uint8"));
    expect(tokens).toEqual(batches[0]);
    await expect(encoder.features(formulaImages(1, 36, 40))).rejects.toThrow(
      /multiples of 8, got 36x40/,
    );
    encoder.dispose();
  });
});
