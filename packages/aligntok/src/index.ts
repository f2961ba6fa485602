export {
  type AdapterConfig,
  type AdapterForm,
  adapterShapes,
  applyAdapter,
  applyVariationalAdapter,
  initAdapter,
} from "./adapter.ts";
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
  type ApplyEncoderOptions,
  applyEncoder,
  createFeaturePerceptual,
  type FeaturePerceptualOptions,
} from "./encoder.ts";
export type { EncoderRates } from "./encoder-rates.ts";
export { type ImportTokenizerOptions, importTokenizer } from "./import-tokenizer.ts";
export { applyLora, initLora, type LoraConfig, mergeLora } from "./lora.ts";
export {
  type AdversarialLoss,
  absoluteLoss,
  adaptiveWeight,
  createLpipsPerceptual,
  featureDistance,
  generatorLoss,
  hingeLoss,
  logisticLoss,
  type Perceptual,
  type SemanticDistance,
  semanticLoss,
} from "./losses.ts";
export { type DistributionTokenizer, drawLatents } from "./network-tokenizer.ts";
export {
  type InspectedTokenizer,
  inspectTokenizer,
  type OpenedTokenizer,
  type OpenTokenizerOptions,
  openTokenizer,
} from "./open-tokenizer.ts";
export type {
  ReconstructionMemory,
  ReconstructionSize,
  TrainingEstimate,
} from "./reconstruction-memory.ts";
export {
  createReconstructionStep,
  type EncodedLatents,
  type LatentModel,
  type LatentTerm,
  type ReconstructionConfig,
  type StageInputs,
  type StageLosses,
  type StageOutputs,
} from "./reconstruction-step.ts";
export type {
  EvaluationOptions,
  ReconstructionTrainingOptions,
  StageBatch,
} from "./reconstruction-training.ts";
export type { Interpolation } from "./resize.ts";
export {
  createStageStep,
  type SemanticTarget,
  type Stage,
  type StageConfig,
  stages,
  trainableParts,
} from "./stages.ts";
export { createTiledTokenizer, type TilingOptions } from "./tiled-tokenizer.ts";
export {
  type AlignedTokenizer,
  createTokenizer,
  fitTokenizer,
  type InitTokenizerOptions,
  initTokenizer,
  type TokenizerOptions,
  type TokenizerWeights,
  tokenizerShapes,
} from "./tokenizer.ts";
export { adapterOf, type TokenizerConfig } from "./tokenizer-config.ts";
export { loadTokenizer, loadTrainedStage, saveTokenizer } from "./tokenizer-file.ts";
export {
  estimateStage,
  type StageEstimateOptions,
  type TrainedStage,
  type TrainStageOptions,
  trainStage,
} from "./train-tokenizer.ts";
