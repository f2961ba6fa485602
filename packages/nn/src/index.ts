export { pixelShuffle } from "@aligntok/jit";
export { type SelfAttentionOptions, selfAttention } from "./attention.ts";
export {
  type Conv2dOptions,
  conv2d,
  patchEmbed,
  upsampleConv2d,
} from "./convolution.ts";
export { sincosPositions, type TimestepEmbeddingOptions, timestepEmbedding } from "./embedding.ts";
export { type MlpOptions, mlp, swiGlu } from "./feed-forward.ts";
export {
  constant,
  normal,
  type TorchLinearOptions,
  torchLinear,
  truncatedNormal,
  xavierUniform,
} from "./initialization.ts";
export { linear } from "./linear.ts";
export {
  type GroupNormOptions,
  groupNorm,
  layerNorm,
  layerScale,
  rmsNorm,
} from "./normalization.ts";
export { constantTensor, type TensorParameters, weightOf } from "./parameters.ts";
export { resizeBilinear } from "./resize.ts";
export {
  applyRotary,
  type CenteredRotaryOptions,
  centeredRotaryTables,
  type RotaryOptions,
  type RotaryTables,
  type RotaryTensors,
  rotaryTables,
} from "./rotary.ts";
