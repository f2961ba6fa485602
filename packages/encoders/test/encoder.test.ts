import { readSafetensors } from "@aligntok/checkpoint";
import { createRandom, rows, zeros } from "@aligntok/core";
import { afterAll, describe, expect, test } from "vitest";
import { bindEncoder, createEncoder, loadEncoder, type VisionEncoder } from "../src/index.ts";
import { errorOf } from "./error-of.ts";
import { fixture, formulaImages, largestDifference } from "./images.ts";

const open: VisionEncoder[] = [];
function keep(encoder: VisionEncoder): VisionEncoder {
  open.push(encoder);
  return encoder;
}
afterAll(() => {
  for (const encoder of open) encoder.dispose();
});

describe.each(["dinov2", "dinov2-with-registers", "vit", "timm"])("%s", (name) => {
  test("compiled features agree with PyTorch on every grid", async () => {
    const encoder = keep(await loadEncoder(fixture(name)));
    const { tensors } = await readSafetensors(fixture(`${name}/golden.safetensors`));
    const keys = Object.keys(tensors).filter((key) => key.startsWith("tokens/"));
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) {
      const [height, width] = key.slice("tokens/".length).split("x").map(Number);
      const tokens = await encoder.features(formulaImages(2, height!, width!));
      const expected = tensors[key]!;
      expect(tokens.shape).toEqual(expected.shape);
      expect(largestDifference(tokens.data, expected.data as Float32Array), key).toBeLessThan(2e-4);
    }
  });
});

describe("features", () => {
  test("do not depend on how images are batched, nor on calls at the same time", async () => {
    const { config, parameters } = await loadEncoder(fixture("timm"));
    const encoder = keep(bindEncoder(config, parameters, { batchSize: 4, threads: 1 }));
    const images = formulaImages(11, 24, 16); // 4 + 4 + 2 + 1
    const [all, again] = await Promise.all([encoder.features(images), encoder.features(images)]);
    expect(all!.shape).toEqual([11, 1 + 6, 16]);
    expect(again).toEqual(all);
    for (const i of [0, 5, 8, 10]) {
      const alone = await encoder.features(rows(images, i, i + 1));
      expect(largestDifference(alone.data, rows(all!, i, i + 1).data)).toBeLessThan(1e-5);
    }
    expect(largestDifference(rows(all!, 0, 1).data, rows(all!, 1, 2).data)).toBeGreaterThan(0.01);
  });

  test("of no images are no tokens; random weights give finite ones", async () => {
    const { config } = await loadEncoder(fixture("dinov2-with-registers"));
    const encoder = keep(createEncoder(config, createRandom(0, "weights")));
    const none = await encoder.features(zeros([0, 35, 35, 3], "uint8"));
    expect(none.shape).toEqual([0, 1 + 3 + 25, 16]);
    const tokens = await encoder.features(formulaImages(1, 35, 35));
    expect(tokens.data.every(Number.isFinite)).toBe(true);
  });

  test("refuse images that do not fit", async () => {
    const encoder = keep(await loadEncoder(fixture("timm")));
    await expect(encoder.features(zeros([1, 30, 32, 3], "uint8"))).rejects.toThrow(
      /multiples of 8, got 30x32/,
    );
    await expect(encoder.features(zeros([32, 32, 3], "uint8"))).rejects.toThrow(
      /uint8 \(N, H, W, 3\), got uint8 \[32,32,3\]/,
    );
    const images = (shape: number[], data: Uint8Array) =>
      errorOf(encoder.features({ dtype: "uint8", shape, data }));
    const huge = await images([1e9, 32, 32, 3], new Uint8Array(5));
    expect(huge.message).toMatch(/expected 3072000000000 bytes .*got 5/);
    expect((await images([0.5, 32, 16, 3], new Uint8Array(768))).code).toBe("bad-input");
    const absent = await errorOf(encoder.features(undefined as never));
    expect(absent.message).toMatch(/uint8 \(N, H, W, 3\), got undefined/);
    expect(() => bindEncoder(encoder.config, encoder.parameters, { batchSize: 0 })).toThrow(
      /batchSize: expected a positive whole number, got 0/,
    );
  });

  test("work again after dispose", async () => {
    const encoder = keep(await loadEncoder(fixture("timm")));
    const before = await encoder.features(formulaImages(1, 32, 32));
    encoder.dispose();
    expect(await encoder.features(formulaImages(1, 32, 32))).toEqual(before);
  });
});
