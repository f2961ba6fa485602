export {
  type AutoencoderConfig,
  type AutoencoderModel,
  applyAutoencoderDecoder,
  autoencoderModels,
  autoencoderShapes,
  autoencoderStride,
  encodePosterior,
  encoderBody,
  initAutoencoder,
  type Posterior,
  posteriorHead,
  samplePosterior,
} from "./autoencoder.ts";
export {
  type OpenAutoencoderOptions,
  type Opened,
  openAutoencoder,
  saveAutoencoder,
} from "./autoencoder-file.ts";
export {
  type Autoencoder,
  type AutoencoderWeights,
  createAutoencoder,
  type EncodeOptions,
} from "./autoencoder-tokenizer.ts";
export {
  klLoss,
  projectLatents,
  type VisionLoss,
  type VisionLossOptions,
  visionLoss,
  visionWeight,
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
