import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { AlignTokError } from "@aligntok/core";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type DecodedImage,
  type DecodeStreamOptions,
  decodeImage,
  decodeImages,
  encodePng,
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

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
}

const modes: readonly DecodeStreamOptions[] = [{ workers: 0 }, { workers: 1 }, { workers: 2 }];

describe.each(modes)("decodeImages with %j", (mode) => {
  test("takes paths, bytes, records and pixels, and leaves them alone", async () => {
    const image = await readImage(path);
    const inputs: ImageInput[] = [
      path,
      bytes,
      { key: "a", bytes },
      { key: "b", read: async () => bytes },
      image,
    ];
    const decoded = await all(decodeImages(inputs, mode));
    expect(decoded.map(({ key }) => key)).toEqual([path, "1", "a", "b", "4"]);
    expect(decoded.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    for (const { image: each } of decoded) {
      expect(each).toEqual(image);
      expect(each.data).not.toBe(image.data);
    }
    expect(bytes).toEqual(new Uint8Array(readFileSync(path)));
  });

  test("transforms", async () => {
    const transform = { resize: 7, crop: 6, filter: "bilinear" } as const;
    const [decoded] = await all(decodeImages([bytes], { ...mode, transform }));
    expect(decoded?.image).toEqual(transformImage(await decodeImage(bytes), transform));
  });

  test("keeps the order when some take longer", async () => {
    const size = (i: number) => (i % 3 === 0 ? 300 : 2);
    const files = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const shape = [size(i), size(i), 3];
        const data = new Uint8Array(size(i) * size(i) * 3).fill(i);
        return encodePng({ dtype: "uint8", shape, data });
      }),
    );
    const decoded = await all(decodeImages(files, mode));
    expect(decoded.map(({ image }) => image.data[0])).toEqual(files.map((_, i) => i));
  });

  test("reads no farther than ahead", async () => {
    let taken = 0;
    let closed = false;
    async function* endless() {
      try {
        for (;;) {
          taken++;
          yield bytes;
        }
      } finally {
        closed = true;
      }
    }
    for await (const { index } of decodeImages(endless(), { ...mode, ahead: 3 })) {
      await sleep(5);
      expect(taken).toBeLessThanOrEqual(index + 1 + 3);
      if (index === 10) break;
    }
    expect(taken).toBeGreaterThan(11);
    expect(closed).toBe(true);
  });

  test("raises or skips what is damaged, by choice", async () => {
    const broken = { key: "broken", name: "a.tar: broken", bytes: bytes.subarray(0, 40) };
    const inputs = [bytes, broken, join(fixtures, "absent.png"), bytes];
    const error = await failure(all(decodeImages(inputs, mode)));
    expect(AlignTokError.isInstance(error) && error.code).toBe("bad-format");
    expect(error).toMatchObject({ message: expect.stringMatching(/^a\.tar: broken: expected/) });
    const skipped: SkippedImage[] = [];
    const decoded = await all(
      decodeImages(inputs, { ...mode, onError: "skip", onSkip: (each) => skipped.push(each) }),
    );
    expect(decoded.map(({ index }) => index)).toEqual([0, 3]);
    expect(skipped).toMatchObject([
      { key: "broken", index: 1, error: { code: "bad-format" } },
      { index: 2, error: { code: "not-found" } },
    ]);
  });

  test("raises what the source throws, after the images before it", async () => {
    async function* failing() {
      yield bytes;
      throw new Error("no more disk");
    }
    const images = decodeImages(failing(), { ...mode, onError: "skip" });
    expect((await images.next()).value?.index).toBe(0);
    await expect(images.next()).rejects.toThrow("no more disk");
  });

  test("counts what cannot be read, and inputs of other kinds, among the damaged", async () => {
    const cause = new Error("offline");
    const inputs = [
      { key: "a", name: "a.tar: a", read: () => Promise.reject(cause) },
      { key: "b", read: async () => "text" },
      { key: "c" },
      null,
      5,
      new URL("file:///d.png"),
      bytes,
    ] as ImageInput[];
    const skipped: SkippedImage[] = [];
    const onSkip = (each: SkippedImage) => skipped.push(each);
    const decoded = await all(decodeImages(inputs, { ...mode, onError: "skip", onSkip }));
    expect(decoded.map(({ index }) => index)).toEqual([6]);
    const expected = "expected a path, bytes, { key, bytes }, { key, read } or decoded pixels, got";
    expect(skipped.map(({ key, error }) => [key, error.code, error.message])).toEqual([
      ["a", "io", "a.tar: a: expected read() to give bytes, got offline"],
      ["b", "bad-input", expect.stringMatching(/^b: expected the bytes .* got string$/)],
      ["c", "bad-input", expect.stringContaining(`image c: ${expected} an object of key.`)],
      ["3", "bad-input", expect.stringContaining(`image 3: ${expected} null.`)],
      ["4", "bad-input", expect.stringContaining(`image 4: ${expected} number.`)],
      ["5", "bad-input", expect.stringContaining(`image 5: ${expected} URL.`)],
    ]);
    expect(skipped[0]!.error.cause).toBe(cause);
    const raised = await failure(all(decodeImages(inputs, mode)));
    expect(raised).toMatchObject({ code: "io", cause });
  });

  test("stops when aborted, even where the source never answers", async () => {
    async function* stuck() {
      yield bytes;
      await new Promise(() => {});
    }
    const controller = new AbortController();
    const images = decodeImages(stuck(), { ...mode, signal: controller.signal });
    await images.next();
    setTimeout(() => controller.abort(), 5);
    const error = await failure(images.next());
    expect(AlignTokError.isInstance(error) && error.code).toBe("aborted");
    expect((await images.next()).done).toBe(true);
  });

  test("maxPixels holds", async () => {
    const error = await failure(all(decodeImages([bytes], { ...mode, maxPixels: 116 })));
    expect(AlignTokError.isInstance(error) && error.code).toBe("bad-input");
    const transform = { resize: 20 };
    const grown = await failure(all(decodeImages([bytes], { ...mode, transform, maxPixels: 117 })));
    expect(grown).toMatchObject({ message: expect.stringContaining("at most 117 pixels") });
  });
});

describe("threads of decodeImages", () => {
  afterEach(() => vi.restoreAllMocks());

  /** The threads started from now on, by how they ended. */
  function watchThreads(): { readonly workers: Set<Worker>; readonly ended: Set<Worker> } {
    const workers = new Set<Worker>();
    const ended = new Set<Worker>();
    const on = Worker.prototype.on;
    vi.spyOn(Worker.prototype, "on").mockImplementation(function (this: Worker, event, listener) {
      if (!workers.has(this)) {
        workers.add(this);
        on.call(this, "exit", () => ended.add(this));
      }
      return on.call(this, event, listener);
    });
    return { workers, ended };
  }

  test("end with the iteration and when it is left", async () => {
    const { workers, ended } = watchThreads();
    await all(decodeImages([bytes, bytes], { workers: 1 }));
    for await (const _ of decodeImages(Array(20).fill(bytes), { workers: 2 })) break;
    expect(workers.size).toBe(3);
    await vi.waitFor(() => expect(ended.size).toBe(3), 5000);
  });

  test("that die are an error, though errors are to be skipped", async () => {
    const { workers } = watchThreads();
    const images = decodeImages(Array(20).fill(bytes), { workers: 1, ahead: 2, onError: "skip" });
    await images.next();
    await Promise.all([...workers].map((worker) => worker.terminate()));
    const error = await failure(all(images));
    expect(AlignTokError.isInstance(error) && error.code).toBe("unavailable");
  });

  test("are not started for nothing", async () => {
    const { workers } = watchThreads();
    await all(decodeImages([], { workers: 2 }));
    await all(decodeImages([bytes], { workers: 2 }));
    expect(workers.size).toBe(1);
  });
});

test.each([
  [{ workers: -1 }, "workers: expected a whole number of at least 0, got -1"],
  [{ ahead: 0 }, "ahead: expected a whole number of at least 1, got 0"],
  [{ onError: "ignore" as "skip" }, "onError: expected raise or skip, got ignore"],
])("decodeImages refuses %j", async (options, message) => {
  await expect(all(decodeImages([bytes], options))).rejects.toThrow(message);
});

test.each([
  ["cat.jpg", "string"],
  [bytes, "Uint8Array"],
  [null, "null"],
  [{ key: "a", bytes }, "an object of key, bytes"],
])("decodeImages refuses %j in place of a list", async (source, got) => {
  const error = await failure(all(decodeImages(source as unknown as ImageInput[])));
  expect(error).toMatchObject({
    code: "bad-input",
    message: `images: expected an iterable of paths, bytes, records or images, got ${got}. put a single one into a list`,
  });
});
