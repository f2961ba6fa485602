export { klLoss, type Posterior, samplePosterior } from "../posterior.ts";
export {
  type AutoencoderConfig,
  type AutoencoderModel,
  applyAutoencoderDecoder,
  autoencoderDecoder,
  autoencoderModels,
  autoencoderShapes,
  autoencoderStride,
  encodePosterior,
  initAutoencoder,
} from "./autoencoder.ts";
export {
  loadTrainedAutoencoder,
  type OpenAutoencoderOptions,
  type Opened,
  openAutoencoder,
  saveAutoencoder,
  saveTinyAutoencoder,
} from "./autoencoder-file.ts";
export {
  type AutoencoderStepConfig,
  createAutoencoderStep,
  type VisionConfig,
} from "./autoencoder-step.ts";
export {
  type Autoencoder,
  type AutoencoderWeights,
  createAutoencoder,
  type EncodeOptions,
} from "./autoencoder-tokenizer.ts";
export {
  projectLatents,
  type VisionLossOptions,
  visionLoss,
} from "./losses.ts";
export {
  applyTinyDecoder,
  applyTinyEncoder,
  initTinyAutoencoder,
  type TinyAutoencoderConfig,
  tinyAutoencoderModels,
  tinyAutoencoderShapes,
} from "./taesd.ts";
export {
  createTinyAutoencoder,
  type TinyAutoencoder,
  type TinyAutoencoderWeights,
} from "./taesd-tokenizer.ts";
export {
  type AutoencoderEstimateOptions,
  estimateAutoencoder,
  type TrainAutoencoderOptions,
  type TrainedAutoencoder,
  trainAutoencoder,
} from "./train-autoencoder.ts";
