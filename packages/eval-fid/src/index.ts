export {
  computeFeatureStatistics,
  createEncoderExtractor,
  createFeatureStatistics,
  type EncoderExtractorOptions,
  type FeatureStatisticsOptions,
  type ImageStream,
  meanPool,
} from "./feature-statistics.ts";
export {
  computeFrechetDistance,
  type FeatureStatistics,
  type FrechetDistance,
} from "./frechet-distance.ts";
export { computePsnr, computeSsim, type SimilarityScores } from "./image-similarity.ts";
export { applyInception, foldInception, inceptionShapes } from "./inception.ts";
export {
  computeAccuracy,
  fitLinearProbe,
  type LinearProbe,
  type LinearProbeOptions,
} from "./linear-probe.ts";
export { createMoments, type Moments, type MomentValues } from "./moments.ts";
export { computeSymmetricEigenvalues } from "./symmetric-eigenvalues.ts";
