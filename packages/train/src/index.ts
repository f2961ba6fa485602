export type { AdamGroup, AdamOptions, AdamWOptions, Optimizer } from "./adam.ts";
export { createAdam, createAdamW } from "./adam.ts";
export type { AdamWState, AdamWUpdateOptions } from "./adam-update.ts";
export { adamWUpdate } from "./adam-update.ts";
export type { Checkpoint, CheckpointContent, TensorSet } from "./checkpoint.ts";
export { loadLatestCheckpoint, saveCheckpoint } from "./checkpoint.ts";
export type { Ema } from "./ema.ts";
export { createEma } from "./ema.ts";
export {
  accumulateGradients,
  clipGradients,
  computeClipScale,
  computeGradientNorm,
} from "./gradient.ts";
export type { FlatParameters } from "./parameters.ts";
export {
  assignParameters,
  flattenParameters,
  hasPrefix,
  selectParameters,
  splitParameters,
  zerosLike,
} from "./parameters.ts";
export type { Rate, RateMeter } from "./rate-meter.ts";
export { createRateMeter } from "./rate-meter.ts";
export type { Metrics, RunLog } from "./run-log.ts";
export { createRunLog, readRunLog } from "./run-log.ts";
export type { Schedule, ScheduleOptions } from "./schedule.ts";
export {
  createConstantSchedule,
  createCosineSchedule,
  createSchedule,
  createWarmup,
} from "./schedule.ts";
export type {
  StepResult,
  TrainingCheckpoint,
  TrainingOptions,
  TrainingProgress,
  TrainingResult,
  TrainingState,
} from "./training.ts";
export { runTraining } from "./training.ts";
