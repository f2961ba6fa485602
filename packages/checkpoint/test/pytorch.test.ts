import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AlignTokError, createRandom, sizeOf } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openCheckpoint, readSafetensors } from "../src/index.ts";
import { unpickle } from "../src/pickle.ts";

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pytorch-"));
});
afterAll(() => rm(folder, { recursive: true }));

const files = ["pytorch.pth", "pytorch-legacy.pth"];

test.each(files)("%s: every dtype, stride and tie is as safetensors has it", async (file) => {
  const { format, tensors, metadata } = await openCheckpoint(fixture(file));
  const { tensors: expected } = await readSafetensors(fixture("pytorch.safetensors"));
  expect(format).toBe("pytorch");
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    const got = tensors[name]!;
    expect({ dtype: got.dtype, shape: got.shape }, name).toEqual({ dtype, shape });
    expect(got.data, name).toEqual(data);
  }
  expect(metadata).toEqual({ epoch: "7", lr: "0.001" });
  expect(tensors["model.tied"]).toBe(tensors["model.float32"]);
  // older files do not align their storages: those are read and not mapped
  const mapped = file === "pytorch.pth" ? fixture(file) : undefined;
  expect(tensors["model.float32"]!.source?.path).toBe(mapped);
  expect(tensors["model.transposed"]!.source).toBeUndefined();
});

test("names a class that it does not know and executes nothing", async () => {
  await expect(openCheckpoint(fixture("pytorch-object.pth"))).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("__main__.Unknown, which is not executed here"),
  });
  const find = () => {
    throw new AlignTokError("unsupported", "refused");
  };
  const attack = Buffer.from("cos\nsystem\n(S'true'\ntR.");
  expect(() => unpickle(attack, { find, load: () => null }, "attack")).toThrow("refused");
});

test.each(files)("damaged %s: errors, never crashes", async (file) => {
  const whole = await readFile(fixture(file));
  const random = createRandom(1, "damage");
  const path = join(folder, "damaged.pth");
  let refused = 0;
  for (let i = 0; i < 300; i++) {
    const bytes = Uint8Array.from(
      i % 3 === 0 ? whole.subarray(0, Math.floor(random.uniform() * whole.length)) : whole,
    );
    for (let k = 0; k < 4 && bytes.length; k++) {
      // most bytes are padding: half of the changes go to the pickle, near the beginning
      const place = random.uniform() * (k % 2 ? bytes.length : Math.min(bytes.length, 1800));
      bytes[Math.floor(place)] = Math.floor(random.uniform() * 256);
    }
    await writeFile(path, bytes);
    try {
      const { tensors } = await openCheckpoint(path);
      for (const { data, shape } of Object.values(tensors)) expect(data.length).toBe(sizeOf(shape));
    } catch (error) {
      expect(AlignTokError.isInstance(error), String(error)).toBe(true);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(100);
});

const alex = sharedData("lpips", "alex.pth");
test.skipIf(!alex)("a published file (skipped without ../shared/data)", async () => {
  const { tensors } = await openCheckpoint(alex!);
  expect(Object.keys(tensors)).toEqual([0, 1, 2, 3, 4].map((k) => `lin${k}.model.1.weight`));
  const values = Object.values(tensors).flatMap(({ data }) => Array.from(data, Number));
  expect(values[0]).toBeCloseTo(3.7879954106756486e-6, 12); // as torch.load gives it
  expect(values.reduce((sum, value) => sum + value)).toBeCloseTo(105.2753545809201, 6);
});
