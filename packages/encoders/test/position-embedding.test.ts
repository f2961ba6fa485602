import { readSafetensors } from "@aligntok/checkpoint";
import type { Parameters } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { resamplePositions } from "../src/index.ts";
import { fixture, largestDifference } from "./images.ts";

const { tensors } = await readSafetensors(fixture("positions.safetensors"));
const parameters = { pos_embed: tensors.pos_embed } as Parameters;

test("other ways are refused", () => {
  const config = { classToken: true, positions: "learned", patchSize: 2, imageSize: 10 } as const;
  const bogus = { ...config, positionResampling: "area" as "timm" };
  expect(() => resamplePositions(bogus, parameters, [3, 4])).toThrow(
    /positionResampling: expected timm, dinov2, huggingface, got area/,
  );
});

describe.each(["timm", "dinov2", "huggingface"] as const)("%s", (positionResampling) => {
  const config = {
    positionResampling,
    classToken: true,
    positions: "learned",
    patchSize: 2,
    imageSize: 10,
  } as const;
  test.each(["3x4", "7x9", "2x5", "16x16", "1x1"])("5x5 to %s as torch does it", (size) => {
    const grid = size.split("x").map(Number) as [number, number];
    const { pos_embed } = resamplePositions(config, parameters, grid);
    expect(pos_embed!.shape).toEqual([1, 1 + grid[0] * grid[1], 4]);
    const expected = tensors[`${positionResampling}/${size}`]!.data as Float32Array;
    expect(largestDifference(pos_embed!.data.subarray(4), expected)).toBeLessThan(2e-5);
    expect(pos_embed!.data.subarray(0, 4)).toEqual(parameters.pos_embed!.data.subarray(0, 4));
  });

  test("the stored grid is left as it is", () => {
    expect(resamplePositions(config, parameters, [5, 5])).toBe(parameters);
  });

  test.each(["5x5", "4x3", "3x7"])("a stored 3x4 to %s", (size) => {
    const grid = size.split("x").map(Number) as [number, number];
    const stored = { pos_embed: tensors["wide/pos_embed"] } as Parameters;
    const wide = { ...config, imageSize: [6, 8] } as const;
    const { pos_embed } = resamplePositions(wide, stored, grid);
    const expected = tensors[`wide/${positionResampling}/${size}`]!.data as Float32Array;
    expect(largestDifference(pos_embed!.data.subarray(4), expected)).toBeLessThan(2e-5);
    expect(resamplePositions(wide, stored, [3, 4])).toBe(stored);
    expect(() => resamplePositions(config, stored, grid)).toThrow(
      /pos_embed: expected 1 rows for the class token and 5x5 for the image size 10, got 13 rows/,
    );
  });
});
