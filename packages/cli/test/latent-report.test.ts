import { createRandom, ndarray } from "@aligntok/core";
import { computeLatentAnalysis, type LatentAnalysis } from "@aligntok/eval-fid";
import { beforeAll, expect, test } from "vitest";
import { meanPower, renderLatentReport } from "../src/report/latent-report.ts";
import { renderRanges } from "../src/report/range-chart.ts";

let analysis: LatentAnalysis;
beforeAll(async () => {
  const random = createRandom(1, "latents");
  const values = random.normals(50 * 8 * 8 * 4).map((x, i) => x * (1 + (i % 4)) + (i % 4));
  analysis = await computeLatentAnalysis([ndarray(values, [50, 8, 8, 4])]);
});

test("the page loads nothing and leaves out what was not measured", () => {
  const bare = renderLatentReport({ path: "a&b.safetensors", analysis });
  const addresses = [...bare.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address!);
  for (const address of addresses) expect(address).toMatch(/^(data:|#)/);
  expect(bare).toContain("a&amp;b.safetensors: 50 images, 8 x 8 positions, 4 channels");
  expect(bare).not.toContain("What the latents mean");
  expect(bare).not.toContain(">Maps<");
  const cknna = { value: 0.2824, k: 10, reference: "dinov2" };
  const probe = { top1: 0.415, classes: 1000, train: 900, test: 100 };
  const full = renderLatentReport({ path: "x", analysis, cknna, probe });
  for (const text of ["What the latents mean", "0.282", "41.5 %", "dinov2"]) {
    expect(full).toContain(text);
  }
});

test("white noise lies near 0 dB at every frequency, whatever the scale of its channels", () => {
  for (const power of meanPower(analysis)) expect(Math.abs(power - 1)).toBeLessThan(0.15);
});

test("bars of ranges stand where their values say", () => {
  const svg = renderRanges({
    title: "Spread",
    axis: "channel",
    ranges: [
      { mean: 0, std: 1, min: -4, max: 4 },
      { mean: 2, std: 0.5, min: 0, max: 3 },
    ],
  });
  const bars = [
    ...svg.matchAll(/class="bar" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/g),
  ];
  const [first, second] = bars.map(([, x, y, h]) => ({ x: Number(x), y: Number(y), h: Number(h) }));
  expect(bars).toHaveLength(2);
  expect(second!.x).toBeGreaterThan(first!.x);
  expect(second!.y).toBeLessThan(first!.y); // upwards on a screen
  expect(first!.h / second!.h).toBeCloseTo(2, 1);
  expect(renderRanges({ title: "Spread", axis: "channel", ranges: [] })).toBe("");
});

test("constant latents make a page without NaN", async () => {
  const constant = ndarray(new Float32Array(4 * 2 * 2 * 3), [4, 2, 2, 3]);
  const page = renderLatentReport({ path: "x", analysis: await computeLatentAnalysis([constant]) });
  expect(page).not.toContain("NaN");
});
