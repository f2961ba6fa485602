import { readFileSync } from "node:fs";
import { createRandom } from "@aligntok/core";
import { describe, expect, test } from "vitest";

// tools/golden/core-random.py: the same generator written a second time, from its paper
const golden = JSON.parse(
  readFileSync(new URL("./fixtures/random.json", import.meta.url), "utf8"),
) as { seed: number; name: (string | number)[]; uniforms: number[]; normals: number[] }[];

describe.each(golden)("stream $seed/$name", ({ seed, name, uniforms, normals }) => {
  test("uniform", () => {
    const random = createRandom(seed, ...name);
    expect(uniforms.map(() => random.uniform())).toEqual(uniforms);
  });

  test("normal", () => {
    const random = createRandom(seed, ...name);
    for (const value of normals) expect(random.normal()).toBeCloseTo(value, 12);
    expect(createRandom(seed, ...name).normals(7)).toEqual(Float32Array.from(normals));
  });
});

test("streams of other seeds, names and steps differ", () => {
  const first = [
    createRandom(0, "noise", 1),
    createRandom(1, "noise", 1),
    createRandom(0, "noise", 2),
    createRandom(0, "times", 1),
    createRandom(0),
  ].map((random) => random.uniform());
  expect(new Set(first).size).toBe(first.length);
});

test("normal numbers have mean 0, variance 1 and kurtosis 3", () => {
  const values = createRandom(3, "moments").normals(100_000);
  const moment = (power: number) =>
    values.reduce((sum, value) => sum + value ** power, 0) / values.length;
  expect(Math.abs(moment(1))).toBeLessThan(0.015);
  expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02);
  expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15);
});

test("integers are whole, below n and even", () => {
  const random = createRandom(5, "dice");
  const counts = new Array(6).fill(0) as number[];
  for (let i = 0; i < 60_000; i++) counts[random.integer(6)]!++;
  expect(counts).toHaveLength(6);
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400);
});

test("a permutation holds every number once, in an order that the seed decides", () => {
  const order = createRandom(1, "order").permutation(1000);
  expect(order.slice().sort()).toEqual(Uint32Array.from({ length: 1000 }, (_, i) => i));
  expect(createRandom(1, "order").permutation(1000)).toEqual(order);
  expect(createRandom(2, "order").permutation(1000)).not.toEqual(order);
  expect(createRandom(1, "order").permutation(0)).toHaveLength(0);
});
