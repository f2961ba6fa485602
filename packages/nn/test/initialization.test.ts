import { createRandom, type NdArray } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { constant, normal, torchLinear, truncatedNormal, xavierUniform } from "../src/index.ts";

const random = () => createRandom(0, "weights");

function moments({ data }: NdArray<"float32">) {
  const mean = data.reduce((sum, v) => sum + v, 0) / data.length;
  const variance = data.reduce((sum, v) => sum + (v - mean) ** 2, 0) / data.length;
  const largest = data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return { mean, std: Math.sqrt(variance), largest };
}

describe("initial weights", () => {
  test("xavierUniform counts the kernel into both fans, as PyTorch does", () => {
    const weight = xavierUniform(random(), [64, 32, 3, 3]);
    const bound = Math.sqrt(6 / ((64 + 32) * 9));
    const { std, largest } = moments(weight);
    expect(largest).toBeLessThanOrEqual(bound);
    expect(std).toBeCloseTo(bound / Math.sqrt(3), 3);
  });

  test("torchLinear bounds weight and bias by the square root of the fan-in", () => {
    const params = torchLinear(random(), "conv", [300, 10, 3, 3]);
    const bound = 1 / Math.sqrt(90);
    for (const name of ["conv.weight", "conv.bias"]) {
      const { std, largest } = moments(params[name]!);
      expect(largest).toBeLessThanOrEqual(bound);
      expect(std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    }
    expect(params["conv.bias"]!.shape).toEqual([300]);
    expect(Object.keys(torchLinear(random(), "p", [2, 2], { bias: false }))).toEqual(["p.weight"]);
  });

  test("truncatedNormal stays within two standard deviations, normal does not", () => {
    const cut = moments(truncatedNormal(random(), [100, 100], 0.02));
    expect(cut.largest).toBeLessThanOrEqual(0.04);
    expect(cut.largest).toBeGreaterThan(0.039);
    expect(cut.std).toBeCloseTo(0.02 * 0.8796, 3); // standard deviation of a normal cut at 2
    const full = moments(normal(random(), [100, 100], 0.02));
    expect(full.largest).toBeGreaterThan(0.05);
    expect(full.std).toBeCloseTo(0.02, 3);
    expect(full.mean).toBeCloseTo(0, 3);
  });

  test("the same stream gives the same weights", () => {
    expect(normal(random(), [8], 1)).toEqual(normal(random(), [8], 1));
    expect([...constant([2, 2], 3).data]).toEqual([3, 3, 3, 3]);
  });
});
