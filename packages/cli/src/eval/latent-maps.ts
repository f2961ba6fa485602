/** Some latents of a file as pictures, beside the photographs that they come from where those are at hand. */
import { AlignTokError, concatRows, type NdArray, reshape, rows } from "@aligntok/core";
import { type ImageDataset, selectImages } from "@aligntok/data-laion";
import { computePcaMaps } from "@aligntok/encoders";
import { contactSheet, decodeImages, encodePng, type Image, resize } from "@aligntok/image";
import type { ReportGallery } from "../report/blocks.ts";

export interface ShownLatents {
  /** `(n, h, w, 3)` uint8: three principal components over all n maps. */
  readonly maps: NdArray<"uint8">;
  /** As many as maps, square, where the images are known. */
  readonly photographs?: readonly Image[];
}

/** Pixels of the side of a photograph, and of a map on a sheet. */
const side = 128;

/** Passes batches on and keeps the rows at `picks`, ascending, in `kept`. */
export async function* keepRows(
  batches: AsyncIterable<NdArray<"float32">>,
  picks: readonly number[],
  kept: NdArray<"float32">[],
): AsyncGenerator<NdArray<"float32">> {
  let start = 0;
  for await (const batch of batches) {
    const end = start + batch.shape[0]!;
    for (const pick of picks) {
      if (pick >= start && pick < end) kept.push(rows(batch, pick - start, pick - start + 1));
    }
    yield batch;
    start = end;
  }
}

/** @param keys names of the latents, to find their photographs by */
export async function showLatents(
  latents: readonly NdArray<"float32">[],
  images?: {
    readonly dataset: ImageDataset;
    readonly keys: readonly string[];
    readonly signal: AbortSignal;
  },
): Promise<ShownLatents> {
  const maps = computePcaMaps(concatRows(latents));
  if (!images) return { maps };
  const { dataset, keys, signal } = images;
  const places = keys.map((key) => {
    const place = dataset.keys.indexOf(key);
    if (place >= 0) return place;
    throw new AlignTokError(
      "not-found",
      `--images: expected ${key} of the latents among the ${dataset.length} images, got ${dataset.keys[0]} and others. give the images that were encoded`,
    );
  });
  const photographs: Image[] = [];
  const transform = { resize: side, crop: side };
  for await (const { image } of decodeImages(selectImages(dataset, places), {
    transform,
    signal,
  })) {
    photographs.push(image);
  }
  return { maps, photographs };
}

/** One PNG: photograph and map by turns, or maps alone. */
export async function renderSheet({ maps, photographs }: ShownLatents): Promise<Uint8Array> {
  const [, h = 1, w = 1] = maps.shape;
  const scale = side / Math.max(h, w);
  const size = { height: Math.round(h * scale), width: Math.round(w * scale) };
  const tiles = imagesOf(maps).flatMap((map, i) => {
    const large = resize(map, { ...size, filter: "nearest" });
    return photographs ? [photographs[i]!, large] : [large];
  });
  return encodePng(contactSheet(tiles, { columns: 8, gap: 4 }));
}

/** Rows of maps under their photographs. */
export async function galleryOf({ maps, photographs }: ShownLatents): Promise<ReportGallery> {
  const across = 4;
  const pictures = imagesOf(maps);
  const groups: ReportGallery["groups"][number][] = [];
  for (let start = 0; start < pictures.length; start += across) {
    const encode = (list: readonly Image[]) =>
      Promise.all(list.slice(start, start + across).map((image) => encodePng(image)));
    const rows = [
      ...(photographs ? [{ pngs: await encode(photographs) }] : []),
      { pngs: await encode(pictures) },
    ];
    groups.push({ rows });
  }
  return { groups, pixels: true };
}

function imagesOf(maps: NdArray<"uint8">): Image[] {
  const [n = 0, ...shape] = maps.shape;
  return Array.from({ length: n }, (_, i) => reshape(rows(maps, i, i + 1), shape));
}
