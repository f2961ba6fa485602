export { type ContactSheetOptions, contactSheet, stackImages } from "./arrange.ts";
export {
  centerCrop,
  centerCropAdm,
  type ResizeShortSideOptions,
  resizeShortSide,
} from "./crop.ts";
export { type DecodeOptions, decodeImage, readImage } from "./decode.ts";
export {
  type DecodedImage,
  type DecodeStreamOptions,
  decodeImages,
  type ImageInput,
  type SkippedImage,
} from "./decode-stream.ts";
export { encodeJpeg, encodePng, type JpegOptions } from "./encode.ts";
export type { ResizeFilter } from "./filters.ts";
export type { Image, PixelType } from "./image.ts";
export { mirrorImage } from "./mirror.ts";
export { type Box, type ResizeOptions, resize } from "./resize.ts";
export {
  type ImageSize,
  type ImageTransform,
  type TransformOptions,
  transformImage,
} from "./transform.ts";
