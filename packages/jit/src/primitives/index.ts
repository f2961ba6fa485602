export { gelu, silu } from "./activation.ts";
export { type AttentionOptions, attention } from "./attention.ts";
export {
  type Conv2dOptions,
  type ConvTranspose2dOptions,
  conv2d,
  convTranspose2d,
} from "./conv.ts";
export { type CrossEntropyOptions, crossEntropy } from "./cross-entropy.ts";
export { type GroupNormOptions, groupNorm } from "./group-norm.ts";
export { linear } from "./linear.ts";
export { layerNorm, rmsNorm } from "./norm.ts";
export { pixelShuffle, pixelUnshuffle } from "./pixel-shuffle.ts";
export {
  type AveragePoolOptions,
  averagePool2d,
  type MaxPoolOptions,
  maxPool2d,
  type PoolOptions,
} from "./pool.ts";
export { type Coordinates, resizeBilinear2d, upsampleNearest2x } from "./resample.ts";
export { type RopeOptions, rope } from "./rope.ts";
export { swiglu } from "./swiglu.ts";
export { upsampleConv2d } from "./upsample-conv.ts";
