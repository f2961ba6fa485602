/** What the encoders of texts have in common: how they are called, and what they give. */
import type { TensorParameters } from "@aligntok/nn";
import type { Tensor } from "@tensorflow/tfjs-core";

/** One batch of N texts of T tokens, as a graph receives it. */
export interface TextBatch {
  /** (N, T) int32 */
  readonly ids: Tensor;
  /** (N, 1, 1, T): what attention adds to the scores of a token: 0, or -Infinity for one that nothing may see. */
  readonly visible: Tensor;
  /** (N) int32: the place of the pooled token of each text among the N T tokens. */
  readonly ends: Tensor;
}

export interface TextLayer {
  /** Index of the block whose output is wanted. */
  readonly layer: number;
  /** Whether the final normalisation is applied to it. */
  readonly norm: boolean;
}

export interface TextOutputs {
  /** (N, T, D) */
  readonly tokens: Tensor;
  /** (N, D) */
  readonly pooled?: Tensor;
  /** (N, E) */
  readonly embedding?: Tensor;
}

/** A family of text encoders at one size. */
export interface TextModel {
  readonly width: number;
  readonly depth: number;
  /** Number of ids. */
  readonly vocabulary: number;
  /** Tokens of the longest text where nothing else is asked for. */
  readonly maxLength: number;
  /** Whether longer texts than that have no positions. */
  readonly fixedLength: boolean;
  /** Where the token that stands for the whole text lies; 0 where the model has none. */
  readonly endOf: (ids: Int32Array) => number;
  readonly apply: (params: TensorParameters, batch: TextBatch, layer: TextLayer) => TextOutputs;
}
