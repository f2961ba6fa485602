/** Photographs beside the principal components of their patch tokens, as the DINOv2 paper shows them. */
import { writeFileAtomic } from "@aligntok/checkpoint";
import { ndarray, reshape, rows } from "@aligntok/core";
import { type ImageDataset, selectImages } from "@aligntok/data-laion";
import { computePcaMaps, type VisionEncoder } from "@aligntok/encoders";
import {
  contactSheet,
  decodeImages,
  encodePng,
  type Image,
  type ImageTransform,
  resize,
  stackImages,
} from "@aligntok/image";

const most = 8; // images, in two rows of four pairs

/**
 * Writes a PNG of the first images, each beside its tokens: their three main components over all images, as colours.
 *
 * @throws AlignTokError of reading and decoding, and `aborted`
 */
export async function writePcaSheet(
  path: string,
  encoder: VisionEncoder,
  dataset: ImageDataset,
  options: { readonly signal: AbortSignal; readonly transform?: ImageTransform },
): Promise<void> {
  const { signal, transform = encoder.config.transform } = options;
  const indices = Array.from({ length: Math.min(most, dataset.length) }, (_, i) => i);
  const photographs: Image[] = [];
  const first = selectImages(dataset, indices);
  for await (const { image } of decodeImages(first, { transform, signal, onError: "skip" })) {
    photographs.push(image);
  }
  const images = stackImages(photographs);
  const [n = 0, height = 0, width = 0] = images.shape;
  const grid = [height / encoder.patchSize, width / encoder.patchSize];
  const patches = await encoder.features(images, { pool: "patches", signal });
  const maps = computePcaMaps(ndarray(patches.data, [n, ...grid, encoder.width]));
  const pairs = photographs.flatMap((photograph, i) => {
    const map: Image = reshape(rows(maps, i, i + 1), [...grid, 3]);
    return [photograph, resize(map, { height, width, filter: "nearest" })];
  });
  await writeFileAtomic(path, await encodePng(contactSheet(pairs, { columns: 8, gap: 4 })));
}
