export { type AdapterConfig, adapterShapes, applyAdapter, initAdapter } from "./adapter.ts";
export {
  applyDecoder,
  type DecoderConfig,
  decoderShapes,
  decoderSizes,
  decoderStride,
  initDecoder,
} from "./decoder.ts";
export {
  applyDiscriminator,
  type DiscriminatorConfig,
  initDiscriminator,
  isRunningStatistic,
  type Judgement,
} from "./discriminator.ts";
export {
  applyEncoder,
  createFeaturePerceptual,
  type FeaturePerceptualOptions,
} from "./encoder.ts";
export {
  absoluteLoss,
  adaptiveWeight,
  createLpipsPerceptual,
  featureDistance,
  generatorLoss,
  hingeLoss,
  type Perceptual,
  type SemanticDistance,
  semanticLoss,
} from "./losses.ts";
export {
  type OpenedTokenizer,
  type OpenTokenizerOptions,
  openTokenizer,
} from "./open-tokenizer.ts";
export {
  createStageStep,
  type Stage,
  type StageConfig,
  type StageInputs,
  type StageLosses,
  type StageOutputs,
  stages,
  type TokenizerConfig,
  trainableParts,
} from "./stages.ts";
export { createTiledTokenizer, type TilingOptions } from "./tiled-tokenizer.ts";
export {
  type AlignedTokenizer,
  createTokenizer,
  type InitTokenizerOptions,
  initTokenizer,
  type TokenizerOptions,
  type TokenizerWeights,
  tokenizerShapes,
} from "./tokenizer.ts";
export { loadTokenizer, saveTokenizer } from "./tokenizer-file.ts";
export {
  type StageBatch,
  type TrainedStage,
  type TrainStageOptions,
  trainStage,
} from "./train-tokenizer.ts";
