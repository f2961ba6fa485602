import { createRandom, type Images, type NdArray, type Tokenizer, zeros } from "@aligntok/core";
import { describe, expect, it } from "vitest";
import { createTiledTokenizer } from "../src/index.ts";

const stride = 4;

/** Takes the first pixel of each square, and paints it; notes the sizes that it was given. */
function createSampler(sizes: string[] = []): Tokenizer {
  return {
    stats: undefined,
    latentShape: (height, width) => [height / stride, width / stride, 3],
    async encode({ data, shape }) {
      sizes.push(`${shape[1]}x${shape[2]}`);
      const [n, h, w] = [shape[0]!, shape[1]! / stride, shape[2]! / stride];
      const latents = zeros([n, h, w, 3]);
      each(
        latents,
        (i, y, x, c) => data[((i * h * stride + y * stride) * w * stride + x * stride) * 3 + c]!,
      );
      return latents;
    },
    async decode({ data, shape }) {
      const [n, h, w] = [shape[0]!, shape[1]! * stride, shape[2]! * stride];
      const images = zeros([n, h, w, 3], "uint8");
      each(
        images,
        (i, y, x, c) =>
          data[
            ((i * shape[1]! + Math.floor(y / stride)) * shape[2]! + Math.floor(x / stride)) * 3 + c
          ]!,
      );
      return images;
    },
    dispose() {},
  };
}

function each(array: NdArray, value: (i: number, y: number, x: number, c: number) => number): void {
  const [n = 0, h = 0, w = 0, channels = 0] = array.shape;
  for (let at = 0; at < n * h * w * channels; at++) {
    const [c, x, y] = [
      at % channels,
      Math.floor(at / channels) % w,
      Math.floor(at / channels / w) % h,
    ];
    (array.data as Float32Array)[at] = value(Math.floor(at / channels / w / h), y, x, c);
  }
}

const random = createRandom(0, "images");
const randomImages = (shape: readonly number[]): Images => {
  const images = zeros(shape, "uint8");
  each(images, () => random.integer(256));
  return images;
};

describe("createTiledTokenizer", () => {
  it.each([
    [40, 28],
    [16, 52],
    [20, 20],
    [36, 16],
  ])("equals the whole where positions do not see one another: %i x %i", async (height, width) => {
    const sizes: string[] = [];
    const whole = createSampler();
    const tiled = createTiledTokenizer(createSampler(sizes), { tile: 16, overlap: 4 });
    const images = randomImages([2, height, width, 3]);
    const latents = await whole.encode(images);
    const encoded = await tiled.encode(images);
    expect(encoded.shape).toEqual(latents.shape);
    for (const [i, value] of latents.data.entries()) expect(encoded.data[i]).toBeCloseTo(value, 3);
    expect(await tiled.decode(latents)).toEqual(await whole.decode(latents));
    expect(new Set(sizes).size).toBe(1); // one graph serves all tiles
    expect(tiled.latentShape(height, width)).toEqual(whole.latentShape(height, width));
  });

  it("gives images within a tile to the tokenizer as they are", async () => {
    const sizes: string[] = [];
    const tiled = createTiledTokenizer(createSampler(sizes), { tile: 16 });
    const images = randomImages([1, 16, 8, 3]);
    expect(await tiled.encode(images)).toEqual(await createSampler().encode(images));
    expect(sizes).toEqual(["16x8"]);
  });

  it("passes linearly from one tile to the next", async () => {
    let count = 0;
    const flat: Tokenizer = {
      ...createSampler(),
      async decode({ shape }) {
        const images = zeros([shape[0]!, shape[1]! * stride, shape[2]! * stride, 3], "uint8");
        images.data.fill(count++ * 90);
        return images;
      },
    };
    const tiled = createTiledTokenizer(flat, { tile: 16, overlap: 8 });
    const { data } = await tiled.decode(zeros([1, 4, 6, 3])); // tiles over columns 0..15 and 8..23
    const row = Array.from({ length: 24 }, (_, x) => data[x * 3]!);
    expect(row.slice(0, 8)).toEqual(Array(8).fill(0));
    expect(row.slice(8, 16)).toEqual([10, 20, 30, 40, 50, 60, 70, 80]);
    expect(row.slice(16)).toEqual(Array(8).fill(90));
  });

  it("refuses overlaps that do not fit", () => {
    for (const overlap of [2, 16, -4]) {
      expect(() => createTiledTokenizer(createSampler(), { tile: 16, overlap })).toThrow(
        /overlap: expected a multiple of 4 below the tile of 16/,
      );
    }
  });
});
