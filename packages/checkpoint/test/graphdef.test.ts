import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, ndarray, toFloat32 } from "@aligntok/core";
import { afterAll, expect, test } from "vitest";
import { loadParameters, openCheckpoint } from "../src/index.ts";

// tools/golden/checkpoint-graphdef.py: NumPy and Google's protobuf
const golden = join(import.meta.dirname, "fixtures/golden.pb");
const expected: Record<string, { dtype: string; shape: number[]; values: number[] }> = JSON.parse(
  readFileSync(join(import.meta.dirname, "fixtures/graphdef.json"), "utf8"),
);
const folder = await mkdtemp(join(tmpdir(), "aligntok-graphdef-"));
afterAll(() => rm(folder, { recursive: true }));

test("constants with content, and with values of which the last is repeated", async () => {
  const { format, tensors, metadata } = await openCheckpoint(golden);
  expect(format).toBe("graphdef");
  expect(metadata).toEqual({ label: "größer" });
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, values }] of Object.entries(expected)) {
    expect(tensors[name], name).toMatchObject({ dtype, shape });
    const float32 = ndarray(Float32Array.from(values), shape);
    expect(toFloat32(tensors[name]!), name).toEqual(float32);
  }
  expect((await loadParameters(golden)).tail!.data).toEqual(Float32Array.of(1, 2, 3, 3, 3));
});

test("any cut and any flipped bit gives tensors or an AlignTokError", async () => {
  const bytes = readFileSync(golden);
  const path = join(folder, "damaged.pb");
  for (let i = 0; i < 300; i++) {
    const damaged = Buffer.from(bytes);
    const at = (i * 7919) % bytes.length;
    damaged[at]! ^= 1 << (i % 8);
    await writeFile(path, i % 3 === 0 ? damaged.subarray(0, at) : damaged);
    try {
      await loadParameters(path);
    } catch (error) {
      if (!AlignTokError.isInstance(error)) throw error;
    }
  }
});
