export {
  applyClipText,
  type ClipTextConfig,
  clipTextModels,
  clipTextShapes,
  initClipText,
} from "./clip-text.ts";
export { applyT5, initT5, type T5Config, t5Models, t5Shapes } from "./t5.ts";
export { renameTextTensors, textParameters } from "./text-checkpoint.ts";
export { describeTextCheckpoint, parseTextConfig, type TextConfig } from "./text-config.ts";
export {
  bindTextEncoder,
  createTextEncoder,
  type LoadedTextEncoder,
  type TextEncoderOptions,
  type TextFeaturesOptions,
} from "./text-encoder.ts";
export { type LoadTextEncoderOptions, loadTextEncoder } from "./text-encoder-file.ts";
export type { TextBatch, TextLayer, TextOutputs } from "./text-model.ts";
export {
  type TextTokenizer,
  type TokenIds,
  type TokenizeOptions,
  tokenize,
} from "./text-tokenizer.ts";
export { loadTokenizer } from "./tokenizer-file.ts";
export { createTextTokenizer, type TokenizerSettings } from "./tokenizer-json.ts";
