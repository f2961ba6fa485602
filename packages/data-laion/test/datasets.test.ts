import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  createListDataset,
  matchClasses,
  openImageFolder,
  openImages,
  openShards,
  readTar,
  selectImages,
} from "@aligntok/data-laion";
import { sharedData } from "@aligntok/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packTar } from "./pack.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-datasets-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function touch(...files: readonly string[]): Promise<void> {
  for (const file of files) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), file);
  }
}

const text = (content: string) => new TextEncoder().encode(content);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function shard(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const path = join(folder, name);
  const members = Object.entries(files).map(([name, content]) => [name, text(content)] as const);
  const bytes = await packTar(members);
  await writeFile(path, name.endsWith("gz") ? gzipSync(bytes) : bytes);
  return path;
}

describe("a folder with classes", () => {
  it("has sorted classes and the images of all depths, as ImageFolder lists them", async () => {
    await touch("b/2.JPG", "b/10.jpeg", "b/notes.txt", "b/.hidden.jpg", "B/x.png", "a/z/1.webp");
    await touch("a/y.Png", "a/.git/1.jpg", ".cache/1.jpg");
    const dataset = await openImages(folder);
    expect(dataset.classes).toEqual(["B", "a", "b"]);
    expect(dataset.keys).toEqual(["B/x.png", "a/y.Png", "a/z/1.webp", "b/10.jpeg", "b/2.JPG"]);
    expect([...(dataset.labels ?? [])]).toEqual([0, 1, 1, 2, 2]);
    const record = await dataset.read(2);
    expect(record).toMatchObject({ key: "a/z/1.webp", label: 1, name: join(folder, "a/z/1.webp") });
    expect(decode(record.bytes)).toBe("a/z/1.webp");
    await expect(dataset.read(5)).rejects.toThrow(/image 5: expected an index from 0 to 4/);
  });

  it("follows links, but not in circles", async () => {
    await touch("real/1.jpg", "a/2.jpg");
    await symlink(join(folder, "a"), join(folder, "a/again"));
    await symlink(join(folder, "real"), join(folder, "b"));
    await symlink(folder, join(folder, "a/up"));
    const { keys } = await openImageFolder(folder);
    expect(keys).toEqual(["a/2.jpg", "b/1.jpg", "real/1.jpg"]);
  });

  it("is refused when a class is empty, or images lie beside classes", async () => {
    await touch("a/1.jpg", "b/notes.txt");
    await expect(openImages(folder)).rejects.toThrow(/every class folder, got none in b/);
    await touch("b/1.jpg", "loose.jpg");
    await expect(openImages(folder)).rejects.toThrow(/got 1 beside them \(loose\.jpg\)/);
  });
});

describe("a flat folder", () => {
  it("has no classes, and sub-folders without images do not matter", async () => {
    await touch("b.jpg", "a.PNG", "readme.md", "notes/x.txt", ".x.jpg");
    const dataset = await openImages(folder);
    expect(dataset.keys).toEqual(["a.PNG", "b.jpg"]);
    expect(dataset.classes).toBeUndefined();
    expect(dataset.labels).toBeUndefined();
    await rm(join(folder, "b.jpg"));
    await expect(dataset.read(1)).rejects.toMatchObject({ code: "not-found" });
  });

  it("without images says what would be one", async () => {
    await expect(openImages(folder)).rejects.toThrow(/expected images \(jpg, .*for shards/);
  });
});

describe("shards", () => {
  const samples = {
    "0001.jpg": "one",
    "0001.cls": "7",
    "0001.txt": " a cat \n",
    "0002.cls": "0",
    "0002.JPEG": "two",
    "__meta__.json": "{}",
    "d/0003.seg.png": "mask",
    "d/0003.png": "three",
    "d/0003.cls": "12\n",
    "d/._0003.jpg": "resource fork",
  };

  it.each(["a.tar", "a.tar.gz"])("%s: image, label and caption of each sample", async (name) => {
    const dataset = await openImages(await shard(name, samples));
    expect(dataset.keys).toEqual(["0001", "0002", "d/0003"]);
    expect([...(dataset.labels ?? [])]).toEqual([7, 0, 12]);
    expect(dataset.hasCaptions).toBe(true);
    const records = await Promise.all([2, 0, 1].map((index) => dataset.read(index)));
    expect(records.map(({ bytes, label, caption }) => [decode(bytes), label, caption])).toEqual([
      ["three", 12, ""],
      ["one", 7, "a cat"],
      ["two", 0, ""],
    ]);
    expect(records[1]?.name).toBe(`${join(folder, name)}: 0001.jpg`);
  });

  it("of several files are one dataset in the order given", async () => {
    await shard("s-00.tar", { "a.jpg": "0a" });
    await shard("s-01.tgz", { "a.jpg": "1a", "b.jpg": "1b" });
    const paths = [join(folder, "s-01.tgz"), join(folder, "s-00.tar")];
    const dataset = await openImages(paths);
    expect(dataset.keys).toEqual(["a", "b", "a"]);
    expect(decode((await dataset.read(2)).bytes)).toBe("0a");
    expect((await openImages(join(folder, "s-*"))).length).toBe(3);
  });

  it("let one choose among several images", async () => {
    const path = await shard("a.tar", samples);
    const dataset = await openImages(path, { image: "seg.PNG" });
    expect(dataset.keys).toEqual(["d/0003"]);
    expect(decode((await dataset.read(0)).bytes)).toBe("mask");
    await expect(openImages(path, { image: "exr" })).rejects.toThrow(/\.exr members, got none/);
  });

  it("with wrong or missing labels are refused by name", async () => {
    const wrong = await shard("wrong.tar", { "a.jpg": "", "a.cls": "cat" });
    await expect(openImages(wrong)).rejects.toThrow(
      /wrong\.tar: a\.cls: expected a class index in digits, got "cat"/,
    );
    const missing = await shard("missing.tar", { "a.jpg": "", "a.cls": "1", "b.jpg": "" });
    await expect(openImages(missing)).rejects.toThrow(/missing\.tar: b\.cls: expected a class/);
  });

  it("cut short are refused, or used up to the last whole sample", async () => {
    const path = await shard("a.tar", samples);
    const members = [];
    for await (const member of readTar(path)) members.push(member);
    await truncate(path, members.at(-2)!.offset + 1); // in d/0003.cls: its image is whole
    await expect(openImages(path)).rejects.toMatchObject({ code: "bad-format" });
    const dataset = await openImages(path, { damaged: "keep" });
    expect(dataset.keys).toEqual(["0001", "0002"]);
    // other faults are not damage
    const twice = await shard("twice.tar", { "a.jpg": "", "a.JPG": "" });
    await expect(openImages(twice, { damaged: "keep" })).rejects.toThrow(/got two/);
  });

  it("that shrink after they were opened are noticed", async () => {
    const path = await shard("a.tar", samples);
    const dataset = await openShards([path]);
    await truncate(path, 512);
    await expect(dataset.read(0)).rejects.toThrow(/0001\.jpg: expected 3 bytes, got 0/);
  });

  it("gzipped, may not fill the memory", async () => {
    const path = await shard("a.tar.gz", samples);
    await expect(openImages(path, { mostUnpacked: 4000 })).rejects.toThrow(/at most 4000 bytes/);
  });
});

describe("openImages", () => {
  it("takes files, and refuses a mixture and other kinds of file", async () => {
    await touch("2.jpg", "1.png", "3.txt");
    const tar = await shard("s.tar", { "a.jpg": "" });
    expect((await openImages(join(folder, "*.{jpg,png}"))).keys).toEqual([
      join(folder, "2.jpg"),
      join(folder, "1.png"),
    ]);
    await expect(openImages([tar, join(folder, "2.jpg")])).rejects.toThrow(
      /2\.jpg: expected a shard like .*s\.tar, got a image/,
    );
    await expect(openImages(join(folder, "3.txt"))).rejects.toMatchObject({ code: "bad-input" });
    await expect(openImages([folder, folder])).rejects.toThrow(/expected one folder, got 2/);
    await expect(openImages([])).rejects.toThrow(/at least one path/);
  });

  const flowers = sharedData("flowers/flowers-256.tar");
  it.skipIf(!flowers)("reads the flowers: 800 photographs of 5 kinds with captions", async () => {
    const dataset = await openImages(flowers!);
    expect(dataset.length).toBe(800);
    expect(new Set(dataset.labels)).toEqual(new Set([0, 1, 2, 3, 4]));
    const names = new Map<number, string>();
    for (const index of [0, 1, 2, 3, 400, 799]) {
      const { bytes, label = -1, caption = "" } = await dataset.read(index);
      expect([...bytes.subarray(0, 2)]).toEqual([0xff, 0xd8]);
      expect([...bytes.subarray(-2)]).toEqual([0xff, 0xd9]);
      expect(names.get(label) ?? caption).toBe(caption);
      names.set(label, caption);
    }
  });

  const imagenet = sharedData("imagenet-256");
  it.skipIf(!imagenet)("reads ImageNet's layout: 200 classes", async () => {
    const { length, classes, labels } = await openImages(imagenet!);
    expect(length).toBe(200);
    expect(classes).toHaveLength(200);
    expect(classes?.slice(0, 2)).toEqual(["n01440764", "n01496331"]);
    expect([...(labels ?? [])]).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });
});

describe("a list", () => {
  const item = (key: string, label?: number) => ({
    key,
    read: async () => text(key),
    ...(label !== undefined && { label }),
  });

  it("is a dataset, and so is a part of one", async () => {
    const dataset = createListDataset([item("a", 1), item("b", 0), item("c", 1)], {
      classes: ["x", "y"],
    });
    const part = selectImages(dataset, [2, 0]);
    expect(part.keys).toEqual(["c", "a"]);
    expect([...(part.labels ?? [])]).toEqual([1, 1]);
    expect(part.classes).toEqual(["x", "y"]);
    expect(await part.read(0)).toEqual({ key: "c", name: "c", bytes: text("c"), label: 1 });
    expect(() => selectImages(dataset, [3])).toThrow(/expected an index from 0 to 2/);
  });

  it("takes the class indices of another one by their names", async () => {
    const train = { labels: Int32Array.of(0, 1), classes: ["x", "y"] };
    const other = createListDataset([item("a", 0), item("b", 1)], { classes: ["y", "z"] });
    const matched = matchClasses(other, train);
    expect([...matched.labels!]).toEqual([1, -1]);
    expect(matched.classes).toEqual(["x", "y"]);
    expect(await matched.read(0)).toMatchObject({ key: "a", label: 1 });
    expect([...matchClasses(createListDataset([item("a")]), train).labels!]).toEqual([-1]);
    const numbered = createListDataset([item("a", 1)]);
    expect(matchClasses(numbered, train)).toBe(numbered);
    expect(matchClasses(other, {})).toBe(other);
  });

  it("has labels for all or none, within the classes", () => {
    expect(createListDataset([item("a"), item("b")]).labels).toBeUndefined();
    expect(() => createListDataset([item("a", 1), item("b")])).toThrow(/b: expected a class index/);
    expect(() => createListDataset([item("a", 2)], { classes: ["x", "y"] })).toThrow(
      /a: expected a class index from 0 to 1.* got 2/,
    );
  });
});
