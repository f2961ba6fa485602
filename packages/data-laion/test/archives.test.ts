/** Zip archives, NumPy files and Parquet tables, as Python writes them (tools/golden/data-laion-{archives,npz}.py). */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AlignTokError, rows } from "@aligntok/core";
import {
  createImageSource,
  type ImageDataset,
  type ImageRecord,
  openImages,
} from "@aligntok/data-laion";
import { decodeImage } from "@aligntok/image";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const fixture = (name: string) =>
  fileURLToPath(new URL(`./fixtures/archives/${name}`, import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-archives-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Which of the script's images it is: a gray of 10 i, 4 + i wide. */
async function numberOf({ bytes }: ImageRecord): Promise<number> {
  const { shape, data } = await decodeImage(bytes);
  const number = data[0]! / 10;
  expect(shape).toEqual([3, 4 + number, 3]);
  return number;
}

async function readAll(dataset: ImageDataset) {
  const records = [];
  for await (const record of dataset) records.push(record);
  const numbers = [];
  for (const record of records) numbers.push(await numberOf(record));
  return { records, numbers };
}

/** A copy of a fixture with its bytes changed. */
async function changed(name: string, change: (bytes: Buffer) => Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, change(await readFile(fixture(name))));
  return path;
}

describe("zip", () => {
  it("stored and deflated members, classes below the folder that all share", async () => {
    const dataset = await openImages(fixture("classes.zip"));
    expect(dataset.keys).toEqual(["photos/cat/1.PNG", "photos/cat/z/0.png", "photos/dog/b.png"]);
    expect(dataset.classes).toEqual(["cat", "dog"]);
    expect([...(dataset.labels ?? [])]).toEqual([0, 0, 1]);
    const { records, numbers } = await readAll(dataset);
    expect(numbers).toEqual([2, 1, 0]);
    expect(records.map(({ label }) => label)).toEqual([0, 0, 1]);
    expect(records[0]!.name).toBe(`${fixture("classes.zip")}: photos/cat/1.PNG`);
  });

  it("zip64, flat, and several archives", async () => {
    const path = fixture("flat-zip64.zip");
    const dataset = await openImages([path, path]);
    expect(dataset.labels).toBeUndefined();
    expect(dataset.keys).toEqual(["0.png", "1.png", "0.png", "1.png"]);
    expect((await readAll(dataset)).numbers).toEqual([0, 1, 0, 1]);
  });

  it("damaged, cut or of another method are refused by name", async () => {
    const other = await openImages(fixture("bzip2.zip"));
    await expect(other.read(0)).rejects.toThrow(/bzip2\.zip: a\.png: .*got method 12/);
    const cut = await changed("classes.zip", (bytes) => bytes.subarray(0, -30));
    await expect(openImages(cut)).rejects.toMatchObject({ code: "bad-format" });
    const flipped = await changed("flat-zip64.zip", (bytes) => {
      bytes[bytes.indexOf("IHDR")]! ^= 1;
      return bytes;
    });
    await expect((await openImages(flipped)).read(0)).rejects.toThrow(/0\.png: .*checksum/);
    await expect(openImages(join(folder, "absent.zip"))).rejects.toMatchObject({
      code: "not-found",
    });
  });
});

describe("npz", () => {
  /** Pixels of image i of the script, whose pixel k is (7 i + 3 k) mod 256. */
  const pixels = (i: number, count = 60) =>
    Uint8Array.from({ length: count }, (_, k) => (7 * i + 3 * k) % 256);
  const files = ["samples.npz", "samples-compressed.npz"];

  it.each(files)("%s: images and labels in any order, and as a source", async (file) => {
    const dataset = await openImages(fixture(file));
    expect(dataset.length).toBe(40);
    expect(dataset.keys.slice(0, 2)).toEqual(["00", "01"]);
    expect([...dataset.labels!]).toEqual(Array.from({ length: 40 }, (_, i) => i % 3));
    const order = [0, 1, 2, 39, 5, 5, 38];
    const records = await Promise.all(order.map((i) => dataset.read(i)));
    for (const [k, i] of order.entries()) {
      const image = await decodeImage(records[k]!.bytes);
      expect(image).toEqual({ dtype: "uint8", shape: [5, 4, 3], data: pixels(i) });
      expect(records[k]!.label).toBe(i % 3);
    }
    expect(records[3]!.name).toBe(`${fixture(file)}: arr_0.npy: image 39`);
    const source = createImageSource(dataset, { batchSize: 16, seed: 3 });
    const seen: string[] = [];
    for await (const { images, keys, labels } of source.batches()) {
      for (const [k, key] of keys.entries()) {
        expect(rows(images, k, k + 1).data).toEqual(pixels(Number(key)));
        expect(labels![k]).toBe(Number(key) % 3);
      }
      seen.push(...keys);
    }
    expect(seen.toSorted()).toEqual(dataset.keys);
  });

  it("gray images under another name, several files", async () => {
    const path = fixture("gray.npz");
    const dataset = await openImages([path, path]);
    expect(dataset.labels).toBeUndefined();
    expect(dataset.keys).toEqual(["0", "1", "2", "3"]);
    const { data } = await decodeImage((await dataset.read(3)).bytes);
    expect(data.filter((_, k) => k % 3 === 0)).toEqual(pixels(1, 20));
  });

  it("without images, with labels of another number, or damaged are refused by name", async () => {
    await expect(openImages(fixture("none.npz"))).rejects.toThrow(
      /none\.npz: expected one array of images.* got mu\.npy, sigma\.npy/,
    );
    await expect(openImages(fixture("labels.npz"))).rejects.toThrow(
      /expected 2 whole numbers in arr_1/,
    );
    const path = await changed("samples-compressed.npz", (bytes) => {
      const end = bytes.indexOf("PK\x03\x04", 10); // of the first member, and so of its checksum's data
      bytes[end - 20]! ^= 16;
      return bytes;
    });
    const dataset = await openImages(path);
    await expect(Promise.all(dataset.keys.map((_, i) => dataset.read(i)))).rejects.toMatchObject({
      code: "bad-format",
    });
  });
});

describe("Parquet", () => {
  it("of Hugging Face's datasets: paths, class names and texts, over row groups", async () => {
    const dataset = await openImages(fixture("datasets.parquet"));
    expect(dataset.keys).toEqual(Array.from({ length: 7 }, (_, i) => `cat_${i}.png`));
    expect(dataset.classes).toEqual(["cat", "dog"]);
    expect([...(dataset.labels ?? [])]).toEqual([0, 1, 0, 1, 0, 1, 0]);
    const { records, numbers } = await readAll(dataset);
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(records[0]!.caption).toBe("number 0 ü");
    expect(records[1]).toMatchObject({ caption: "", label: 1 });
    const scattered = await Promise.all([6, 0, 4].map((i) => dataset.read(i)));
    expect(await Promise.all(scattered.map(numberOf))).toEqual([6, 0, 4]);
  });

  it("binary columns, names as labels, other compressions, several files", async () => {
    const dataset = await openImages(fixture("binary.parquet"));
    expect(dataset.keys).toEqual(["a", "b", "c"]);
    expect(dataset.classes).toEqual(["cat", "dog"]);
    expect([...(dataset.labels ?? [])]).toEqual([1, 0, 1]);
    expect((await readAll(dataset)).numbers).toEqual([0, 1, 2]);
    const masks = await openImages(fixture("binary.parquet"), { image: "mask" });
    expect((await readAll(masks)).numbers).toEqual([5, 5, 5]);
    const path = fixture("no-paths.parquet");
    const numbered = await openImages([path, path]);
    expect(numbered.keys).toEqual(["0", "1", "2", "3"]);
    expect((await readAll(numbered)).numbers).toEqual([0, 1, 0, 1]);
  });

  it("without images, or damaged anywhere, are an error and nothing worse", async () => {
    await expect(openImages(fixture("urls.parquet"))).rejects.toThrow(
      /urls\.parquet: expected one column of images.*got columns url/,
    );
    await expect(openImages(fixture("binary.parquet"), { image: "key" })).rejects.toThrow(
      /a column key of images/,
    );
    const original = await readFile(fixture("datasets.parquet"));
    for (let i = 0; i < 150; i++) {
      const bytes = Buffer.from(original);
      if (i % 3 === 0) bytes.fill(0xff, (i * 97) % bytes.length, ((i * 97) % bytes.length) + 4);
      else bytes[(i * 7919) % bytes.length]! ^= 1 << (i % 8);
      const path = join(folder, `${i}.parquet`);
      await writeFile(path, i % 5 === 4 ? bytes.subarray(0, (i * 31) % bytes.length) : bytes);
      try {
        const dataset = await openImages(path);
        for await (const { bytes } of dataset) expect(bytes).toBeInstanceOf(Uint8Array);
      } catch (error) {
        if (!AlignTokError.isInstance(error)) throw new Error(`mutation ${i}`, { cause: error });
      }
    }
  });
});
