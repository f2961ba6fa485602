import { setTimeout as sleep } from "node:timers/promises";
import { AlignTokError, type ImageBatch, rows } from "@aligntok/core";
import {
  type CountingImageSource,
  createImageSource,
  createListDataset,
  epochOrder,
  type ImageDataset,
  type ImageSourceOptions,
  openImages,
  selectImages,
} from "@aligntok/data-laion";
import { centerCrop, decodeImage, resizeShortSide, transformImage } from "@aligntok/image";
import { sharedData } from "@aligntok/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeTestImage } from "./pixels.ts";

const pngs = await Promise.all(Array.from({ length: 12 }, (_, i) => encodeTestImage(i, 6, 9)));

/** Images `0` to `count - 1`, of which some are broken. */
function numbered(count: number, broken: ReadonlySet<number> = new Set()): ImageDataset {
  return createListDataset(
    Array.from({ length: count }, (_, i) => ({
      key: `${i}`,
      label: i % 3,
      caption: `number ${i}`,
      read: async () => (broken.has(i) ? Uint8Array.of(1, 2, 3) : pngs[i % pngs.length]!),
    })),
  );
}

async function take(source: CountingImageSource, most = 1000): Promise<ImageBatch[]> {
  const batches: ImageBatch[] = [];
  if (most === 0) return batches;
  for await (const batch of source.batches()) {
    batches.push(batch);
    if (batches.length >= most) break;
  }
  return batches;
}

const keysOf = (batches: readonly ImageBatch[]) => batches.map(({ keys }) => keys.join(" "));

describe("the order", () => {
  it("is a permutation that depends on seed and epoch alone", () => {
    const order = (seed: number, epoch: number) => [
      ...epochOrder(50, { seed, epoch, shuffle: true }),
    ];
    expect(order(1, 0)).toEqual(order(1, 0));
    expect(order(1, 0)).not.toEqual(order(1, 1));
    expect(order(1, 0)).not.toEqual(order(2, 0));
    expect(order(1, 0)).not.toEqual(order(1, 0).sort((a, b) => a - b));
    expect(order(1, 0).sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  it("visits every image once an epoch, with its own label and caption", async () => {
    const source = createImageSource(numbered(10), { batchSize: 4, seed: 5, epochs: 2 });
    const batches = await take(source);
    expect(batches.map(({ keys }) => keys.length)).toEqual([4, 4, 2, 4, 4, 2]);
    const order = [0, 1].flatMap((epoch) => [...epochOrder(10, { seed: 5, epoch, shuffle: true })]);
    expect(batches.flatMap(({ keys }) => keys)).toEqual(order.map(String));
    for (const { images, keys, labels, captions } of batches) {
      expect(images.shape).toEqual([keys.length, 6, 9, 3]);
      for (const [i, key] of keys.entries()) {
        expect(labels?.[i]).toBe(Number(key) % 3);
        expect(captions?.[i]).toBe(`number ${key}`);
        const decoded = await decodeImage(pngs[Number(key)]!);
        expect(rows(images, i, i + 1).data).toEqual(decoded.data);
      }
    }
    expect(source.state()).toEqual({ epoch: 2, position: 0, seed: 5 });
    expect(await take(source)).toEqual([]);
  });

  it("is the dataset's without shuffling", async () => {
    const source = createImageSource(numbered(5), { batchSize: 2, shuffle: false });
    expect(keysOf(await take(source))).toEqual(["0 1", "2 3", "4"]);
  });
});

describe("resuming", () => {
  it("after any batch continues as if nothing had happened", async () => {
    const cases = fc.record({
      count: fc.integer({ min: 1, max: 12 }),
      batchSize: fc.integer({ min: 1, max: 5 }),
      seed: fc.nat(1000),
      epochs: fc.integer({ min: 1, max: 3 }),
      shuffle: fc.boolean(),
      dropLast: fc.boolean(),
      prefetch: fc.nat(3),
      stop: fc.nat(12),
      broken: fc.uniqueArray(fc.nat(11), { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ count, stop, broken, ...rest }) => {
        fc.pre(!rest.dropLast || rest.batchSize <= count - broken.length);
        fc.pre(broken.filter((i) => i < count).length < count);
        const dataset = numbered(count, new Set(broken));
        const options: ImageSourceOptions = {
          ...rest,
          size: 4,
          crop: "random",
          flip: true,
          onError: "skip",
        };
        const whole = await take(createImageSource(dataset, options));
        const first = createImageSource(dataset, options);
        const before = await take(first, stop);
        const state = JSON.parse(JSON.stringify(first.state()));
        const after = await take(createImageSource(dataset, { ...options, state }));
        expect([...before, ...after]).toEqual(whole);
        // the same source, asked again, continues too
        expect(await take(first)).toEqual(after);
      }),
      { numRuns: 60 },
    );
  });

  it("refuses a state of another seed or dataset", () => {
    const at = (state: { epoch: number; position: number; seed: number }, seed?: number) => () =>
      createImageSource(numbered(5), {
        batchSize: 1,
        state,
        ...(seed !== undefined && { seed }),
      });
    expect(at({ epoch: 0, position: 1, seed: 3 }, 4)).toThrow(/seed 4, got one of seed 3/);
    expect(at({ epoch: 0, position: 5, seed: 3 })).toThrow(/position from 0 to 4, got 0 and 5/);
    expect(at({ epoch: 0, position: 4, seed: 3 })().state().seed).toBe(3);
  });
});

/** Rows and columns at which a window fits. */
function places(
  [height = 0, width = 0]: readonly number[],
  [h, w]: readonly [number, number],
): [number, number][] {
  const down = Array.from({ length: height - h + 1 }, (_, top) => top);
  const across = Array.from({ length: width - w + 1 }, (_, left) => left);
  return down.flatMap((top) => across.map((left): [number, number] => [top, left]));
}

describe("preparing", () => {
  const one = (options: Partial<ImageSourceOptions>) =>
    take(createImageSource(numbered(8), { batchSize: 8, shuffle: false, ...options }));

  it("resizes the short side and keeps the centre", async () => {
    const [batch] = await one({ size: 4 });
    const decoded = await decodeImage(pngs[3]!);
    const wanted = centerCrop(resizeShortSide(decoded, 4, { filter: "bicubic" }), 4);
    expect(rows(batch!.images, 3, 4).data).toEqual(wanted.data);
  });

  it.each([
    ["center", [4, 9]], // 6x9 by its width, to a height of 6
    ["center", [12, 6]], // by its height, to 12x18
    ["random", [3, 4]],
    ["random", [4, 9]],
  ] as const)("gives a %s crop of %o", async (crop, size) => {
    const [batch] = await one({ size, crop });
    expect(batch!.images.shape).toEqual([8, ...size, 3]);
    const [height, width] = size;
    const decoded = await decodeImage(pngs[3]!);
    const factor = Math.max(height / 6, width / 9);
    const resized = transformImage(decoded, {
      resize: { height: Math.floor(6 * factor), width: Math.floor(9 * factor) },
    });
    const taken = rows(batch!.images, 3, 4).data;
    const parts = places(resized.shape, size).map(([top, left]) => {
      const lines = Array.from({ length: height }, (_, y) => {
        const start = ((top + y) * resized.shape[1]! + left) * 3;
        return [...resized.data.subarray(start, start + width * 3)];
      });
      return lines.flat().join();
    });
    expect(parts).toContain([...taken].join());
    if (crop === "center") expect(taken).toEqual(centerCrop(resized, { height, width }).data);
  });

  it("takes random parts, others in each epoch, and mirrors half of them", async () => {
    // at size 6 nothing is resized: 6x9 has four places for a square of 6
    const batches = await one({ size: 6, crop: "random", flip: true, epochs: 16 });
    const seen = new Map<string, number>();
    for (const { images } of batches) {
      for (let i = 0; i < 8; i++) {
        const decoded = await decodeImage(pngs[i]!);
        const pixel = (y: number, x: number) => rows(images, i, i + 1).data[(y * 6 + x) * 3];
        const found = [0, 1, 2, 3].flatMap((left) =>
          [false, true]
            .filter((mirror) =>
              [0, 1, 2, 3, 4, 5].every((x) =>
                [0, 5].every(
                  (y) => pixel(y, mirror ? 5 - x : x) === decoded.data[(y * 9 + left + x) * 3],
                ),
              ),
            )
            .map((mirror) => `${left} ${mirror}`),
        );
        expect(found).toHaveLength(1);
        seen.set(found[0]!, (seen.get(found[0]!) ?? 0) + 1);
      }
    }
    expect(seen.size).toBe(8); // each place, plain and mirrored, of 128 draws
    const mirrored = [...seen].filter(([name]) => name.endsWith("true"));
    const share = mirrored.reduce((sum, [, count]) => sum + count, 0) / 128;
    expect(share).toBeGreaterThan(0.35);
    expect(share).toBeLessThan(0.65);
  });

  it("needs images of one size where none is given", async () => {
    const images = [await encodeTestImage(0, 4, 4), await encodeTestImage(1, 4, 5)];
    const dataset = createListDataset(
      images.map((png, i) => ({ key: `${i}`, read: async () => png })),
    );
    const source = createImageSource(dataset, { batchSize: 2, shuffle: false });
    await expect(take(source)).rejects.toThrow(/^1: expected 4x4 pixels like 0, got 5x4\. give a/);
  });
});

describe("failures", () => {
  const broken = new Set([1, 4]);

  it("raise by default, naming the image, and what came before stays delivered", async () => {
    const source = createImageSource(numbered(6, broken), { batchSize: 1, shuffle: false });
    const batches: ImageBatch[] = [];
    const reading = (async () => {
      for await (const batch of source.batches()) batches.push(batch);
    })();
    await expect(reading).rejects.toMatchObject({
      code: "bad-format",
      message: expect.stringMatching(/^1: /),
    });
    expect(keysOf(batches)).toEqual(["0"]);
    expect(source.state().position).toBe(1);
  });

  it("are passed over and counted where that is wanted", async () => {
    const source = createImageSource(numbered(6, broken), {
      batchSize: 2,
      shuffle: false,
      onError: "skip",
    });
    expect(keysOf(await take(source))).toEqual(["0 2", "3 5"]);
    expect(source.skipped()).toEqual({ "bad-format": 2 });
  });

  it("have the next image stand in, so that others keep their places and a run resumes", async () => {
    const options = { batchSize: 2, onError: "replace", epochs: 2, seed: 3 } as const;
    const source = createImageSource(numbered(6, broken), options);
    const all = keysOf(await take(source));
    const whole = keysOf(await take(createImageSource(numbered(6), options)));
    const replaced = whole.map((keys) => keys.replace("1", "2").replace("4", "5"));
    expect(all).toEqual(replaced);
    expect(source.skipped()).toEqual({ "bad-format": 4 });
    const state = { epoch: 1, position: 2, seed: 3 };
    const later = createImageSource(numbered(6, broken), { ...options, state });
    expect(keysOf(await take(later))).toEqual(all.slice(4));
    const none = createImageSource(numbered(2, new Set([0, 1])), options);
    await expect(take(none)).rejects.toMatchObject({ code: "bad-format" });
  });

  it("of every image end an endless source", async () => {
    const source = createImageSource(numbered(2, new Set([0, 1])), {
      batchSize: 1,
      epochs: Number.POSITIVE_INFINITY,
      onError: "skip",
    });
    await expect(take(source)).rejects.toThrow(/got none in a whole epoch.*"bad-format":2/);
  });

  it("of the disk are not skipped", async () => {
    const read = async () => {
      throw new AlignTokError("io", "disk: gone");
    };
    const dataset = createListDataset([{ key: "a", read }]);
    const source = createImageSource(dataset, { batchSize: 1, onError: "skip" });
    await expect(take(source)).rejects.toThrow("disk: gone");
  });

  it("that nobody waits for are no unhandled rejections", async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", listener);
    await take(
      createImageSource(numbered(12, new Set([3, 4])), { batchSize: 1, shuffle: false }),
      1,
    );
    await sleep(50);
    process.off("unhandledRejection", listener);
    expect(unhandled).toEqual([]);
  });

  it.each<[ImageSourceOptions, RegExp]>([
    [{ batchSize: 0 }, /batchSize: expected a whole number from 1, got 0/],
    [{ batchSize: 2, size: 1.5 }, /size/],
    [{ batchSize: 2, size: [4, 0] }, /size: expected whole numbers of pixels, got 4,0/],
    [{ batchSize: 2, size: [4, 8], crop: "adm" }, /crop adm: expected a square size, got 4x8/],
    [{ batchSize: 2, seed: -1 }, /seed/],
    [{ batchSize: 2, prefetch: -1 }, /prefetch/],
    [{ batchSize: 2, epochs: 0.5 }, /epochs/],
    [{ batchSize: 7, dropLast: true }, /batchSize: expected at most the 6 images, got 7/],
  ])("of options are found at once: %o", (options, message) => {
    expect(() => createImageSource(numbered(6), options)).toThrow(message);
  });
});

describe("prefetching", () => {
  /** A dataset that counts reads, each of which takes a moment. */
  function counting(count: number) {
    const counts = { reads: 0, now: 0, most: 0 };
    const dataset = createListDataset(
      Array.from({ length: count }, (_, i) => ({
        key: `${i}`,
        async read() {
          counts.reads++;
          counts.most = Math.max(counts.most, ++counts.now);
          await sleep(2);
          counts.now--;
          return pngs[0]!;
        },
      })),
    );
    return { counts, dataset };
  }

  it("reads as many batches ahead as asked for, and waits for a slow consumer", async () => {
    const { counts, dataset } = counting(100);
    const source = createImageSource(dataset, { batchSize: 4, prefetch: 2, shuffle: false });
    let delivered = 0;
    for await (const { keys } of source.batches()) {
      delivered += keys.length;
      await sleep(30);
      expect(counts.reads).toBe(Math.min(delivered + 4 * 2 + 3, 100));
      if (delivered === 20) break;
    }
    await sleep(30);
    expect(counts.reads).toBe(31);
    expect(counts.most).toBeGreaterThan(1);
    expect(counts.most).toBeLessThanOrEqual(8);
  });

  it("stops at an abort, even while a read hangs", async () => {
    const dataset = createListDataset([
      { key: "0", read: async () => pngs[0]! },
      { key: "1", read: () => new Promise<Uint8Array>(() => {}) },
    ]);
    const source = createImageSource(dataset, { batchSize: 1, shuffle: false });
    const controller = new AbortController();
    const batches = source.batches({ signal: controller.signal })[Symbol.asyncIterator]();
    expect((await batches.next()).value.keys).toEqual(["0"]);
    setTimeout(() => controller.abort(), 10);
    await expect(batches.next()).rejects.toMatchObject({ code: "aborted" });
    expect(source.state()).toEqual({ epoch: 0, position: 1, seed: 0 });
  });
});

const flowers = sharedData("flowers/flowers-256.tar");
it.skipIf(!flowers)("shards resume like lists: some flowers, stopped in the middle", async () => {
  const whole = await openImages(flowers!);
  const dataset = selectImages(
    whole,
    Array.from({ length: 100 }, (_, i) => i * 8),
  );
  const options = { size: 32, batchSize: 16, seed: 9, dropLast: true };
  const first = createImageSource(dataset, options);
  const before = await take(first, 2);
  const after = await take(createImageSource(dataset, { ...options, state: first.state() }));
  const order = [...epochOrder(100, { seed: 9, epoch: 0, shuffle: true })].slice(0, 96);
  const batches = [...before, ...after];
  expect(batches.flatMap(({ keys }) => keys)).toEqual(order.map((i) => whole.keys[i * 8]));
  expect(batches.flatMap(({ labels }) => [...(labels ?? [])])).toEqual(
    order.map((i) => whole.labels?.[i * 8]),
  );
});
