import { mkdir, mkdtemp, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ndarray } from "@aligntok/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadLatestCheckpoint, saveCheckpoint } from "../src/index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const content = (value: number) => ({
  tensors: {
    model: { weight: ndarray(Float32Array.of(value, 1e-45), [2, 1]) },
    optimizer: { step: ndarray(Int32Array.of(value), [], "int32") },
  },
  state: { seed: value },
});
const list = async () => (await readdir(join(folder, "checkpoints"))).sort();

describe("checkpoints", () => {
  it("come back as they were saved, the latest first, older ones pruned", async () => {
    for (const step of [100, 200, 1_000_000]) await saveCheckpoint(folder, step, content(step));
    expect(await list()).toEqual(["step-000200", "step-1000000"]);
    expect((await readdir(join(folder, "checkpoints/step-000200"))).sort()).toEqual([
      "model.safetensors",
      "optimizer.safetensors",
      "state.json",
    ]);
    const loaded = await loadLatestCheckpoint(folder);
    expect(loaded).toMatchObject({ step: 1_000_000, state: { seed: 1_000_000 }, skipped: [] });
    expect(loaded!.tensors).toEqual(content(1_000_000).tensors);
  });

  it("are absent in a new folder", async () => {
    expect(await loadLatestCheckpoint(join(folder, "none"))).toBeUndefined();
  });

  it("are passed over where unfinished or damaged", async () => {
    await saveCheckpoint(folder, 1, content(1));
    const damage: readonly ((path: string) => Promise<void>)[] = [
      (path) => rm(join(path, "state.json")),
      (path) => rm(join(path, "optimizer.safetensors")),
      (path) => truncate(join(path, "model.safetensors"), 70),
      (path) => truncate(join(path, "model.safetensors"), 0),
      (path) => truncate(join(path, "state.json"), 10),
      (path) => writeFile(join(path, "state.json"), "null"),
    ];
    for (const [i, spoil] of damage.entries()) {
      const path = await saveCheckpoint(folder, 2 + i, { ...content(2), keep: 100 });
      await spoil(path);
    }
    await mkdir(join(folder, "checkpoints/.unfinished-step-000999"));
    const loaded = await loadLatestCheckpoint(folder);
    expect(loaded?.step).toBe(1);
    expect(loaded?.skipped).toHaveLength(damage.length);
  });

  it("replace one of the same step, and survive a kill between the two renames", async () => {
    await saveCheckpoint(folder, 5, content(1));
    const path = await saveCheckpoint(folder, 5, content(2));
    expect(await list()).toEqual(["step-000005"]);
    expect((await loadLatestCheckpoint(folder))?.state).toEqual({ seed: 2 });
    await rename(path, `${path}.replaced`);
    expect((await loadLatestCheckpoint(folder))?.state).toEqual({ seed: 2 });
    await rename(`${path}.replaced`, join(folder, "aside"));
    await saveCheckpoint(folder, 5, content(3));
    await rename(join(folder, "aside"), `${path}.replaced`); // killed before removing it
    expect((await loadLatestCheckpoint(folder))?.state).toEqual({ seed: 3 });
  });

  it("clear away what a killed process left", async () => {
    await mkdir(join(folder, "checkpoints/.unfinished-step-000001"), { recursive: true });
    await saveCheckpoint(folder, 2, content(2));
    expect(await list()).toEqual(["step-000002"]);
  });

  it("say in one line why they cannot be written", async () => {
    await writeFile(join(folder, "file"), "");
    const saving = saveCheckpoint(join(folder, "file"), 1, content(1));
    await expect(saving).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(/^checkpoint .*step-000001: a part of the path is a file/),
    });
    await expect(saveCheckpoint(folder, 1.5, content(1))).rejects.toThrow(/whole number/);
    const tensors = { "../model": {} };
    await expect(saveCheckpoint(folder, 1, { tensors })).rejects.toThrow(/got "..\/model"/);
  });
});
