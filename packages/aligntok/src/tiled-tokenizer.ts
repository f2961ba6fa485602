/**
 * Large images in tiles: memory then depends on the size of a tile, not on that of the image.
 *
 * Tiles of one size overlap, the last ones end with the image, and where several lie over one another they are mixed
 * with weights that fall linearly towards their edges, as in diffusers. What a network mixes over the whole image
 * (attention, normalisation) it then mixes over each tile, so that the result is near that of the whole, not equal.
 */
import { check, type DType, type Images, type NdArray, ndarray, zeros } from "@aligntok/core";
import { checkImages } from "./images.ts";
import type { DistributionTokenizer } from "./network-tokenizer.ts";

export interface TilingOptions {
  /** Largest side in pixels that goes through the networks at once: a multiple of the stride. @default 1024 */
  readonly tile?: number;
  /** Least overlap of two tiles in pixels: a multiple of the stride, less than `tile`. @default a quarter of `tile`, rounded down */
  readonly overlap?: number;
}

/**
 * A tokenizer that works on images of any size in tiles, and on those within one tile as the given one does.
 * It shares the given one's graphs; disposing of either is enough.
 *
 * @throws AlignTokError `bad-input` when tile and overlap are no multiples of the stride
 */
export function createTiledTokenizer(
  tokenizer: DistributionTokenizer,
  { tile = 1024, overlap }: TilingOptions = {},
): DistributionTokenizer {
  const [side, , latent] = tokenizer.latentShape(tile, tile);
  const stride = tile / side;
  const shared = overlap === undefined ? Math.floor(side / 4) : overlap / stride;
  check(
    Number.isInteger(shared) && shared >= 0 && shared < side,
    () =>
      `overlap: expected a multiple of ${stride} below the tile of ${tile}, got ${overlap}. a quarter of the tile is usual`,
  );

  /** By `network`, which gives `channels` values for each position. */
  async function encodeBy(
    network: (images: Images) => Promise<NdArray<"float32">>,
    channels: number,
    images: Images,
  ): Promise<NdArray<"float32">> {
    const [n, height, width] = checkImages(images);
    const [h, w] = tokenizer.latentShape(height, width);
    if (h <= side && w <= side) return network(images);
    return blend([n, h, w, channels], 1, (window) => network(cut(images, scaled(window, stride))));
  }

  async function decode(latents: NdArray<"float32">): Promise<Images> {
    const [n = 0, h = 0, w = 0] = latents.shape;
    if (latents.shape.length !== 4 || (h <= side && w <= side)) return tokenizer.decode(latents);
    const { data, shape } = await blend([n, h * stride, w * stride, 3], stride, (window) =>
      tokenizer.decode(cut(latents, window)),
    );
    return ndarray(Uint8Array.from(data, Math.round), shape, "uint8");
  }

  /** Mixes what `compute` makes of the windows, each `scale` times as large as its window. */
  async function blend(
    shape: readonly [number, number, number, number],
    scale: number,
    compute: (window: Window) => Promise<NdArray>,
  ): Promise<NdArray<"float32">> {
    const [, height, width] = shape;
    const sum = zeros(shape);
    const weights = new Float32Array(height * width);
    for (const [top, rows] of spans(height / scale, side, shared)) {
      for (const [left, columns] of spans(width / scale, side, shared)) {
        const window = { top, left, height: rows, width: columns };
        const place = scaled(window, scale);
        const [down, across] = [rows, columns].map((n) => ramp(n * scale, shared * scale));
        addWeighted(sum, await compute(window), { place, down: down!, across: across!, weights });
      }
    }
    const values = height * width * shape[3];
    for (let i = 0; i < sum.data.length; i++) {
      sum.data[i]! /= weights[Math.floor((i % values) / shape[3])]!;
    }
    return sum;
  }

  const { encode, moments } = tokenizer;
  return {
    ...tokenizer,
    encode: (images) => encodeBy(encode, latent, images),
    ...(moments && { moments: (images) => encodeBy(moments, 2 * latent, images) }),
    decode,
  };
}

interface Window {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

function scaled({ top, left, height, width }: Window, factor: number): Window {
  return {
    top: top * factor,
    left: left * factor,
    height: height * factor,
    width: width * factor,
  };
}

/** Start and length of tiles over `size` positions: of one length, the last ending with it. */
function spans(size: number, tile: number, overlap: number): (readonly [number, number])[] {
  if (size <= tile) return [[0, size]];
  const count = Math.ceil((size - overlap) / (tile - overlap));
  return Array.from({ length: count }, (_, i) => [
    Math.min(i * (tile - overlap), size - tile),
    tile,
  ]);
}

/** Weights of a tile along one side: 1 in the middle, falling linearly over the overlap at both ends. */
function ramp(length: number, overlap: number): Float32Array {
  return Float32Array.from({ length }, (_, i) =>
    Math.min(1, (i + 1) / (overlap + 1), (length - i) / (overlap + 1)),
  );
}

/** The window of arrays `(N, H, W, C)`. */
function cut<D extends DType>(array: NdArray<D>, { top, left, height, width }: Window): NdArray<D> {
  const [n = 0, rows = 0, columns = 0, channels = 0] = array.shape;
  const part = zeros([n, height, width, channels], array.dtype);
  for (let i = 0; i < n * height; i++) {
    const row = Math.floor(i / height) * rows + top + (i % height);
    const start = (row * columns + left) * channels;
    const line = array.data.subarray(start, start + width * channels);
    (part.data as Float32Array).set(line as Float32Array, i * width * channels);
  }
  return part;
}

interface Placed {
  readonly place: Window;
  readonly down: Float32Array;
  readonly across: Float32Array;
  /** Sums of the weights at each position `(H, W)`. */
  readonly weights: Float32Array;
}

function addWeighted(
  sum: NdArray<"float32">,
  part: NdArray,
  { place: { top, left, height, width }, down, across, weights }: Placed,
): void {
  const [n = 0, rows = 0, columns = 0, channels = 0] = sum.shape;
  const data = part.data as Float32Array;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const weight = down[y]! * across[x]!;
      const position = (top + y) * columns + left + x;
      weights[position]! += weight;
      for (let i = 0; i < n; i++) {
        const to = (i * rows * columns + position) * channels;
        const from = ((i * height + y) * width + x) * channels;
        for (let c = 0; c < channels; c++) sum.data[to + c]! += weight * data[from + c]!;
      }
    }
  }
}
