export {
  createListDataset,
  type ImageDataset,
  type ImageRecord,
  type ListedImage,
  matchClasses,
  selectImages,
} from "./dataset.ts";
export { openImageFolder } from "./folder.ts";
export { openNpz } from "./npz.ts";
export { openImages } from "./open.ts";
export { openParquet, type ParquetOptions } from "./parquet.ts";
export { expandBraces, expandPaths } from "./paths.ts";
export type { Crop } from "./prepare.ts";
export { readSamples, type Sample, sampleKey } from "./samples.ts";
export { openShards, type ShardOptions } from "./shards.ts";
export {
  type CountingImageSource,
  createImageSource,
  epochOrder,
  type ImageSourceOptions,
} from "./source.ts";
export { readTar, type TarInput, type TarMember } from "./tar.ts";
export type { TarKind } from "./tar-header.ts";
export { openZips } from "./zip.ts";
