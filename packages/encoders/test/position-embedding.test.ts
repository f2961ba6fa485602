import { readSafetensors } from "@aligntok/checkpoint";
import type { Parameters } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { resamplePositions } from "../src/index.ts";
import { fixture, largestDifference } from "./images.ts";

const { tensors } = await readSafetensors(fixture("positions.safetensors"));
const parameters = { pos_embed: tensors.pos_embed } as Parameters;

describe.each(["timm", "dinov2", "huggingface"] as const)("%s", (positionResampling) => {
  const config = { positionResampling, classToken: true, positions: "learned" } as const;
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
});
