import { createRandom, ndarray } from "@aligntok/core";
import { decodeImage, type Image } from "@aligntok/image";
import { beforeAll, describe, expect, test } from "vitest";
import { type ReportData, renderReport } from "../src/index.ts";
import { renderChart, ticks } from "../src/report/chart.ts";
import { exampleReport } from "./report-data.ts";

let data: ReportData;
let photographs: Image[];
let html = "";
beforeAll(async () => {
  const random = createRandom(1, "photographs");
  photographs = Array.from({ length: 8 }, () => {
    const pixels = Uint8Array.from({ length: 16 * 16 * 3 }, () => random.integer(256));
    return ndarray(pixels, [16, 16, 3], "uint8");
  });
  data = await exampleReport(photographs);
  html = renderReport(data);
});

test("the page loads nothing: every address is inlined or an anchor of its own", () => {
  const addresses = [...html.matchAll(/(?:src|href|url)\s*=?\s*[("]([^")]*)/g)].map(([, a]) => a!);
  expect(addresses.length).toBeGreaterThan(50);
  for (const address of addresses) expect(address).toMatch(/^(data:|#)/);
  expect(html).not.toContain("<script");
  const ids = [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  for (const [, target] of html.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target);
});

test("pictures arrive bit for bit", async () => {
  const [, first] = /class="hero">.*?base64,([^"]+)"/s.exec(html)!;
  const image = await decodeImage(Buffer.from(first!, "base64"));
  expect(image.data).toEqual(photographs[0]!.data);
});

test("text is escaped", () => {
  expect(html).toContain("Fruits &lt;1&gt;");
  expect(html).toContain("Fishes &amp; meat");
  expect(html).not.toContain("<1>");
});

test("numbers, settings and the paper's context are there", () => {
  for (const text of ["15.93", "0.744", "17.34", "stages.latent.learningRate", "0.001"]) {
    expect(html).toContain(text);
  }
});

test("a section without content is left out, with its link", () => {
  const page = renderReport({ ...data, samples: [] });
  expect(html).toContain("Generated images");
  expect(page).not.toContain("Generated images");
});

describe("charts", () => {
  test("ticks are round and cover the range", () => {
    expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(13.2, 16.1, 5)).toEqual([13, 14, 15, 16, 17]);
    expect(ticks(3, 3, 5).length).toBeGreaterThan(1);
  });

  test("points lie where their values say", () => {
    const svg = renderChart({
      title: "PSNR",
      series: [
        {
          name: "stage 1",
          points: [
            [0, 10],
            [100, 20],
          ],
        },
      ],
    });
    const [, d] = /class="line"[^>]* d="M([^"]+)"/.exec(svg)!;
    const [from, to] = d!.split("L").map((point) => point.split(" ").map(Number));
    expect(to![0]).toBeGreaterThan(from![0]!);
    expect(to![1]).toBeLessThan(from![1]!); // upwards on a screen
    expect(svg).toContain("<b>20</b>");
  });

  test("one spike and values that are not finite do not flatten the line", () => {
    const points = Array.from({ length: 500 }, (_, i) => {
      const value = i === 250 ? 60 : i === 10 ? Number.NaN : 1 - i / 1000;
      return [i, value] as const;
    });
    const svg = renderChart({ title: "loss", series: [{ name: "loss", points }] });
    const labels = [...svg.matchAll(/text-anchor="end">([\d.]+)</g)].map(([, n]) => Number(n));
    expect(Math.max(...labels)).toBeLessThan(10);
    expect(svg).not.toContain("NaN");
  });

  test("a chart without a point is nothing", () => {
    expect(renderChart({ title: "loss", series: [{ name: "loss", points: [] }] })).toBe("");
  });
});
