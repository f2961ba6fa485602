export { batchRanges, checkBatchSize } from "./batches.ts";
export type {
  Denoiser,
  Encoder,
  FeatureExtractor,
  ImageBatch,
  ImageSource,
  Images,
  LatentStats,
  SourceState,
  TextEncodeOptions,
  TextEncoder,
  TextFeatures,
  Tokenizer,
} from "./contracts.ts";
export { AlignTokError, check, type ErrorCode, listSome } from "./error.ts";
export {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "./half.ts";
export {
  byteLength,
  bytesPerElement,
  concatRows,
  type DType,
  type DTypeData,
  dtypes,
  type FileRange,
  type NdArray,
  ndarray,
  type Parameters,
  parameter,
  reshape,
  rows,
  sizeOf,
  toFloat32,
  viewBytes,
  zeros,
} from "./nd-array.ts";
export { heightAndWidth, type PixelSize, pixelSize } from "./pixel-size.ts";
export { type Logger, type OnProgress, type Progress, silentLogger } from "./progress.ts";
export { createRandom, type Random } from "./random.ts";
