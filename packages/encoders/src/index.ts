export { adaptCheckpoint } from "./checkpoint-names.ts";
export { compareFeatures, type FeatureComparison } from "./compare-features.ts";
export { formatConfig, parseConfig } from "./config-file.ts";
export { bindEncoder, createEncoder, type EncoderOptions, type VisionEncoder } from "./encoder.ts";
export {
  type LoadEncoderOptions,
  loadEncoder,
  type SaveEncoderOptions,
  saveEncoder,
} from "./encoder-file.ts";
export type { FeatureBatch, FeatureStream, FeatureStreamOptions } from "./feature-stream.ts";
export type { FeaturesOptions } from "./features.ts";
export {
  findViTModel,
  type InputSizeOptions,
  inputSize,
  type ViTModel,
  vitModels,
} from "./models.ts";
export { computePcaMaps } from "./pca-maps.ts";
export { type Pooling, poolTokens } from "./pooling.ts";
export { type PositionResampling, resamplePositions } from "./position-embedding.ts";
export { type Normalization, normalize, preprocess } from "./preprocess.ts";
export {
  type ApplyViTLayersOptions,
  type ApplyViTOptions,
  applyViT,
  applyViTHead,
  applyViTLayers,
  initViT,
  patchGrid,
  prefixTokens,
  type ViTConfig,
  vitShapes,
} from "./vit.ts";
