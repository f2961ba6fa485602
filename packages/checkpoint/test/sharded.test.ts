import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ndarray } from "@aligntok/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadParameters, openCheckpoint, writeShardedSafetensors } from "../src/index.ts";

// tools/golden/checkpoint-shards.py: huggingface_hub
const golden = join(import.meta.dirname, "fixtures/shards");
const sizes = { "b.weight": 10, "a.weight": 20, huge: 60, c: 5, d: 25, e: 1 };
const state = Object.fromEntries(
  Object.entries(sizes).map(([name, length], i) => [
    name,
    ndarray(
      Float32Array.from({ length }, (_, k) => k + i),
      [length],
    ),
  ]),
);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-shards-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("reads what huggingface_hub wrote", async () => {
  const { format, tensors, metadata } = await openCheckpoint(golden);
  expect(format).toBe("safetensors");
  expect(tensors).toEqual(state);
  expect(metadata).toEqual({ format: "pt", note: "golden" });
  expect(await loadParameters(join(golden, "model.safetensors.index.json"))).toEqual(state);
});

test("a folder of diffusers, whose files are called otherwise", async () => {
  await writeShardedSafetensors(folder, state);
  const [from, to] = ["model.safetensors", "diffusion_pytorch_model.safetensors"];
  await rename(join(folder, from), join(folder, to));
  expect((await openCheckpoint(folder)).tensors).toEqual(state);
  await rm(join(folder, to));
  await cp(join(golden, "../pytorch.pth"), join(folder, "diffusion_pytorch_model.bin"));
  expect((await openCheckpoint(folder)).format).toBe("pytorch");
});

test("writing in shards tells of all bytes, and stops between two tensors", async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const written = writeShardedSafetensors(folder, state, {
    maxShardBytes: 130,
    signal: controller.signal,
    onProgress({ done, total }) {
      expect(total).toBe(4 * 121);
      if (seen.push(done) === 4) controller.abort();
    },
  });
  await expect(written).rejects.toMatchObject({ code: "aborted" });
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

test("writes what huggingface_hub writes, and removes an older model", async () => {
  await writeFile(join(folder, "model-00001-of-00009.safetensors"), "old");
  await writeFile(join(folder, "config.json"), "{}");
  // tensors that lie in files are read one by one
  const { tensors } = await openCheckpoint(golden);
  const ordered = Object.fromEntries(Object.keys(state).map((name) => [name, tensors[name]!]));
  await writeShardedSafetensors(folder, ordered, {
    maxShardBytes: 130,
    metadata: { note: "golden" },
  });
  const files = await readdir(golden);
  expect((await readdir(folder)).sort()).toEqual([...files, "config.json"].sort());
  for (const file of files) {
    const [ours, theirs] = await Promise.all([
      readFile(join(folder, file)),
      readFile(join(golden, file)),
    ]);
    if (file.endsWith(".json"))
      expect(JSON.parse(String(ours))).toEqual(JSON.parse(String(theirs)));
    else expect(ours.equals(theirs), file).toBe(true);
  }
  expect(await writeShardedSafetensors(folder, state)).toEqual(["model.safetensors"]);
  expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors"]);
  expect((await openCheckpoint(folder)).tensors).toEqual(state);
});

test.each<[string, (map: Record<string, string>, files: string[]) => void, string]>([
  [
    "a file is absent",
    (map) => {
      map.e = "gone.safetensors";
    },
    "got none named gone.safetensors",
  ],
  [
    "a tensor lies elsewhere",
    (map, files) => {
      map["b.weight"] = files[2]!;
    },
    "b.weight, which lies in",
  ],
  ["a tensor is not listed", (map) => void delete map.c, "holds c, which is in no file"],
  [
    "a path leaves the folder",
    (map) => {
      map.c = "../c.safetensors";
    },
    'got "../c.safetensors"',
  ],
])("refuses an index where %s", async (_, change, message) => {
  await cp(golden, folder, { recursive: true });
  const path = join(folder, "model.safetensors.index.json");
  const index = JSON.parse(await readFile(path, "utf8"));
  change(index.weight_map, (await readdir(folder)).sort());
  await writeFile(path, JSON.stringify(index));
  await expect(openCheckpoint(folder)).rejects.toThrow(message);
});

test("refuses an index of another form, and folders without a model", async () => {
  await expect(openCheckpoint(folder)).rejects.toThrow("got an empty folder");
  const path = join(folder, "model.safetensors.index.json");
  for (const text of ["{", "null", '{"weight_map": []}', '{"weight_map": {"a": 1}}']) {
    await writeFile(path, text);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: "bad-format" });
  }
});
