import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stampWeights } from "../src/weights-stamp.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-stamp-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Whether the stamp of `path` is another one after a file was written, at a time of its own. */
async function isOther(path: string, name: string, time: number): Promise<boolean> {
  const before = JSON.stringify(await stampWeights(join(folder, path)));
  await writeFile(join(folder, name), "weights");
  await utimes(join(folder, name), time, time);
  return JSON.stringify(await stampWeights(join(folder, path))) !== before;
}

test("a folder is another one with other weights or configuration, and the same with other files beside them", async () => {
  await writeFile(join(folder, "model.safetensors"), "weights");
  expect(await isOther("", "model.safetensors", 1)).toBe(true);
  expect(await isOther("", "model.safetensors", 2)).toBe(true);
  expect(await isOther("", "config.json", 3)).toBe(true);
  expect(await isOther("", "preprocessor_config.json", 4)).toBe(true);
  for (const name of ["tokens.npy.part", "tokens.npy.part.json", "tokens.npy", "README.md"]) {
    expect(await isOther("", name, 5)).toBe(false);
  }
});

test("a file is another one with its shards, the other half of a TAESD and OpenVINO's data", async () => {
  for (const [name, companion] of [
    ["vit.pth", "vit.pth"],
    ["large.safetensors.index.json", "large-00002-of-00002.safetensors"],
    ["taesd_decoder.pth", "taesd_encoder.pth"],
    ["network.xml", "network.bin"],
  ] as const) {
    await writeFile(join(folder, name), "weights");
    expect(await isOther(name, companion, 6)).toBe(true);
    expect(await isOther(name, "another.pth", 7)).toBe(false);
  }
});
