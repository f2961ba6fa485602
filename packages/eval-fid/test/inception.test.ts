import { readFileSync } from "node:fs";
import { type NdArray, ndarray, sizeOf } from "@aligntok/core";
import { compile, specOf } from "@aligntok/jit";
import { expect, test } from "vitest";
import { applyInception, foldInception, inceptionShapes } from "../src/index.ts";

/** By tools/golden/eval-fid-inception.py. */
const golden = JSON.parse(
  readFileSync(new URL("fixtures/inception.json", import.meta.url), "utf8"),
) as {
  readonly tensors: number;
  readonly elements: number;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly features: readonly number[];
};

/** The script's numbers in [-1, 1): the finalizer of murmur3 over places, seeded by the name's letters. */
function values(
  name: string,
  shape: readonly number[],
  map = (x: number) => x,
): NdArray<"float32"> {
  const seed = [...name].reduce((sum, letter, i) => sum + (i + 1) * letter.charCodeAt(0), 0);
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    let h = (Math.imul(i, 0x9e3779b1) + seed) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
    return map(((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1);
  });
  return ndarray(data, shape);
}

function scaled(name: string, shape: readonly number[]): NdArray<"float32"> {
  const bound = Math.sqrt(6 / sizeOf(shape.slice(1)));
  if (name.endsWith("conv.weight")) return values(name, shape, (x) => x * bound);
  if (/bn\.weight$|running_var$/.test(name)) return values(name, shape, (x) => 1 + 0.2 * x);
  return values(name, shape, (x) => 0.1 * x);
}

test("the tensors are those of the published file: 472 with 23,885,392 elements", () => {
  const shapes = inceptionShapes();
  expect(shapes).toMatchObject(golden.shapes);
  expect(Object.keys(shapes)).toHaveLength(472);
  expect(Object.values(shapes).reduce((sum, shape) => sum + sizeOf(shape), 0)).toBe(23_885_392);
  expect(golden).toMatchObject({ tensors: 472, elements: 23_885_392 });
});

test("features equal PyTorch's, at an odd size where every pooling meets its edge", async () => {
  const weights = Object.entries(inceptionShapes()).map(
    ([name, shape]) => [name, scaled(name, shape)] as const,
  );
  const params = foldInception(Object.fromEntries(weights));
  const images = values("images", [2, 3, 123, 91]);
  const network = await compile(
    ({ images, params }) => applyInception(params, images),
    { images: specOf(images) },
    { bind: { params } },
  );
  const { shape, data } = await network.run({ images });
  network.dispose();
  expect(shape).toEqual([2, 2048]);
  const worst = data.reduce((most, x, i) => Math.max(most, Math.abs(x - golden.features[i]!)), 0);
  const typical = golden.features.reduce((sum, x) => sum + Math.abs(x), 0) / data.length;
  expect(worst).toBeLessThan(1e-4 * typical);
});

test("weights that are missing, or torchvision's, are named", () => {
  expect(() => foldInception({})).toThrow(/inception Conv2d_1a_3x3.conv.weight: expected .+ none/);
});
