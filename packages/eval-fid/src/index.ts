export { type CknnaOptions, computeCknna } from "./cknna.ts";
export {
  computeFeatureStatistics,
  createEncoderExtractor,
  createFeatureStatistics,
  type EncoderExtractorOptions,
  type FeatureStatisticsOptions,
  type ImageStream,
  type MeanPoolOptions,
  meanPool,
} from "./feature-statistics.ts";
export {
  computeFrechetDistance,
  type FeatureStatistics,
  type FrechetDistance,
} from "./frechet-distance.ts";
export { computePsnr, computeSsim, type SimilarityScores } from "./image-similarity.ts";
export { applyInception, foldInception, type InceptionFeatures } from "./inception.ts";
export { inceptionScopes, inceptionShapes } from "./inception-layers.ts";
export {
  type ChannelStatistics,
  computeLatentAnalysis,
  type LatentAnalysis,
  type LatentAnalysisOptions,
} from "./latent-analysis.ts";
export { computeAccuracy, computeTopAccuracy, type LinearProbe } from "./linear-probe.ts";
export { type FittedProbe, fitLinearProbe, type LinearProbeOptions } from "./linear-probe-lbfgs.ts";
export {
  type TrainedProbe,
  type TrainProbeOptions,
  trainLinearProbes,
} from "./linear-probe-sgd.ts";
export { createMoments, type Moments, type MomentValues } from "./moments.ts";
export { type LatentBatch, type PooledBatches, poolBatches } from "./pool-batches.ts";
export type { PowerSpectrum } from "./power-spectrum.ts";
export { computeSymmetricEigenvalues } from "./symmetric-eigenvalues.ts";
