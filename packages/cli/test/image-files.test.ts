import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { createRandom, ndarray, rows } from "@aligntok/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createImageArchive } from "../src/image-archive.ts";
import { createNames } from "../src/png-folder.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-images-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("npz: a zip64 archive whose entries carry sizes, checksums and npy arrays", async () => {
  const random = createRandom(1, "npz");
  const pixels = Uint8Array.from({ length: 5 * 4 * 4 * 3 }, () => random.integer(256));
  const images = ndarray(pixels, [5, 4, 4, 3], "uint8");
  const path = join(folder, "samples.npz");
  const archive = await createImageArchive(path, images.shape);
  await archive.append(rows(images, 0, 2));
  await archive.append(rows(images, 2, 5));
  await archive.finish(Int32Array.of(3, 1, 2, 3, 1));
  await archive.discard();

  const bytes = await readFile(path);
  const directory = Number(bytes.readBigUInt64LE(bytes.indexOf("PK\x06\x06") + 48));
  let at = directory;
  const entries = ["arr_0.npy", "arr_1.npy"].map((name) => {
    expect(bytes.toString("latin1", at, at + 4)).toBe("PK\x01\x02");
    expect(bytes.toString("latin1", at + 46, at + 46 + name.length)).toBe(name);
    const extra = at + 46 + name.length;
    const [size, offset] = [extra + 4, extra + 20].map((k) => Number(bytes.readBigUInt64LE(k)));
    const lengths = [26, 28].map((k) => bytes.readUInt16LE(offset! + k)); // name and extra fields
    const start = offset! + 30 + lengths[0]! + lengths[1]!;
    const content = bytes.subarray(start, start + size!);
    expect(crc32(content)).toBe(bytes.readUInt32LE(at + 16));
    expect(bytes.readUInt32LE(offset! + 14)).toBe(crc32(content));
    at = extra + 28;
    return content;
  });
  expect(entries[0]!.toString("latin1", 0, 128)).toContain("'descr': '|u1'");
  expect(entries[0]!.toString("latin1", 0, 128)).toContain("(5, 4, 4, 3)");
  expect(Uint8Array.from(entries[0]!.subarray(128))).toEqual(pixels);
  expect(Uint8Array.from(entries[1]!.subarray(128))).toEqual(
    new Uint8Array(Int32Array.of(3, 1, 2, 3, 1).buffer),
  );
});

test("an archive that is not finished leaves nothing behind", async () => {
  const archive = await createImageArchive(join(folder, "short.npz"), [2, 4, 4, 3]);
  await expect(archive.finish(Int32Array.of(0, 0))).rejects.toThrow("bytes of arr_0.npy");
  await archive.discard();
  expect((await readdir(folder)).filter((name) => name.startsWith("short"))).toEqual([]);
});

test("images keep their names and never leave the folder", () => {
  const name = createNames("out", ".png");
  const keys = ["a/b.jpg", "a/b.webp", "a/b.jpg", "../../etc/passwd", "/root/x.png", "..", "v1.5"];
  expect(keys.map(name)).toEqual(
    [
      "a/b.png",
      "a/b.webp.png",
      "a/b.jpg.png",
      "etc/passwd.png",
      "root/x.png",
      "image.png",
      "v1.5.png",
    ].map((path) => join("out", path)),
  );
});
