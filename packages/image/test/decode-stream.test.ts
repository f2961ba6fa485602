import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AlignTokError } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import {
  type DecodedImage,
  decodeImage,
  decodeImages,
  type ImageInput,
  readImage,
  type SkippedImage,
  transformImage,
} from "../src/index.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const path = join(fixtures, "decode-rgb.png");
const bytes = new Uint8Array(readFileSync(path));

async function all(images: AsyncIterable<DecodedImage>): Promise<DecodedImage[]> {
  const list: DecodedImage[] = [];
  for await (const image of images) list.push(image);
  return list;
}

describe("decodeImages", () => {
  test("takes paths, bytes, records and pixels", async () => {
    const image = await readImage(path);
    const inputs: ImageInput[] = [
      path,
      bytes,
      { key: "a", bytes },
      { key: "b", read: async () => bytes },
      image,
    ];
    const decoded = await all(decodeImages(inputs));
    expect(decoded.map(({ key }) => key)).toEqual([path, "1", "a", "b", "4"]);
    expect(decoded.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    for (const { image: each } of decoded) expect(each).toEqual(image);
  });

  test("transforms", async () => {
    const transform = { resize: 7, crop: 6, filter: "bilinear" } as const;
    const [decoded] = await all(decodeImages([bytes], { transform }));
    expect(decoded?.image).toEqual(transformImage(await decodeImage(bytes), transform));
  });

  test("raises or skips what is damaged, by choice", async () => {
    const inputs = [bytes, { key: "broken", bytes: bytes.subarray(0, 40) }, bytes];
    await expect(all(decodeImages(inputs))).rejects.toThrow("broken: expected");
    const skipped: SkippedImage[] = [];
    const decoded = await all(
      decodeImages(inputs, { onError: "skip", onSkip: (each) => skipped.push(each) }),
    );
    expect(decoded.map(({ index }) => index)).toEqual([0, 2]);
    expect(skipped).toMatchObject([{ key: "broken", index: 1, error: { code: "bad-format" } }]);
  });

  test("stops when aborted", async () => {
    const controller = new AbortController();
    const images = decodeImages([bytes, bytes], { signal: controller.signal });
    await images.next();
    controller.abort();
    const error = await images.next().catch((reason: unknown) => reason);
    expect(AlignTokError.isInstance(error) && error.code).toBe("aborted");
  });
});
