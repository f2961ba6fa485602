import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zeros } from "@aligntok/core";
import { encodePng } from "@aligntok/image";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  fingerprintImages,
  openTrainingImages,
  readLabelled,
} from "../src/train/training-images.ts";

let folder: string;
const pathOf = (...names: string[]) => join(folder, ...names);
async function addImages(...names: string[]): Promise<void> {
  const png = await encodePng(zeros([8, 8, 3], "uint8"));
  for (const name of names) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(pathOf(name), png);
  }
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "training-images-"));
  await addImages("train/a/0.png", "train/a/1.png", "train/b/2.png", "train/b/3.png");
  await addImages("val/b/4.png", "val/c/5.png", "flat/6.png", "flat/7.png", "one/8.png");
});
afterAll(() => rm(folder, { recursive: true }));

const defaults = { size: 8, crop: "center", flip: false, onError: "raise" } as const;
const open = (heldOut: string | number) =>
  openTrainingImages({ ...defaults, images: pathOf("train"), heldOut }, 0);
const labelsOf = async (heldOut: string) => {
  const { heldOut: dataset } = await open(pathOf(heldOut));
  const { signal } = new AbortController();
  const { labels } = await readLabelled(dataset, { count: 9, size: 8, onError: "raise", signal });
  return [...labels];
};

describe("the images of a training", () => {
  it("have held-out classes found by their names; -1 without one", async () => {
    expect(await labelsOf("val")).toEqual([1, -1]);
    expect(await labelsOf("flat")).toEqual([-1, -1]);
  });

  it("are told apart, so that a run is not resumed with others", async () => {
    const before = fingerprintImages(await open(2));
    expect(fingerprintImages(await open(2))).toBe(before);
    await addImages("train/b/9.png");
    expect(fingerprintImages(await open(2))).not.toBe(before);
  });

  it("held out are too few where no statistics can be computed of them", async () => {
    await expect(open(pathOf("one"))).rejects.toThrow(/data\.heldOut: expected at least 2 images/);
  });
});
