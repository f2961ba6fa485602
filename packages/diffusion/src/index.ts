export { type CompiledDenoiser, createDenoiser } from "./denoiser.ts";
export { type DiffusionModel, loadDiffusion, saveDiffusion } from "./diffusion-model.ts";
export {
  computeLatentStats,
  denormalizeLatents,
  type LatentSet,
  normalizeLatents,
  permuteLatents,
  readLatents,
  writeLatents,
} from "./latents.ts";
export {
  applyLightningDit,
  checkLightningDitConfig,
  countLightningDit,
  initLightningDit,
  isFixedParameter,
  type LightningDitConfig,
  lightningDitDefaults,
  lightningDitShapes,
  lightningDitSizes,
} from "./lightningdit.ts";
export {
  createTimeGrid,
  type EulerOptions,
  guide,
  integrateEuler,
  type SampleOptions,
  sampleLatents,
} from "./sample.ts";
export { type TrainDiffusionOptions, trainDiffusion } from "./train-diffusion.ts";
export {
  drawTransport,
  flowMatchingLoss,
  type TransportDraw,
  type TransportOptions,
} from "./transport.ts";
