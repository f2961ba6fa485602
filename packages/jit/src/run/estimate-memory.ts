import { byteLength, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Value } from "../graph/graph.ts";
import { computePeakBytes } from "../graph/peak-bytes.ts";
import { optimize } from "../passes/index.ts";
import { trace } from "../trace/trace.ts";
import type { MapTree, TensorSpec, Tree } from "../tree.ts";

/** Bytes that a run of a compiled function takes. */
export interface MemoryEstimate {
  readonly inputs: number;
  readonly outputs: number;
  /** The most intermediate values that are alive at one time. */
  readonly intermediate: number;
}

/**
 * What a function will need, from its trace alone: nothing is allocated or computed, so that a program can say so
 * before it begins. Engines add buffers of their own to it: of convolutions, packed weights, and rounding.
 *
 * ```ts
 * const { intermediate } = estimateMemory(step, { images: spec([16, 3, 256, 256]) });
 * ```
 *
 * @throws AlignTokError as `compile`
 */
export function estimateMemory<S>(
  fn: (inputs: MapTree<S, TensorSpec, Tensor>) => unknown,
  inputSpec: S,
): MemoryEstimate {
  const { graph } = trace(fn as never, inputSpec as Tree<TensorSpec | NdArray>);
  const total = (values: readonly { readonly value: Value }[]) =>
    values.reduce((sum, { value }) => sum + byteLength(value), 0);
  return {
    inputs: total(graph.inputs),
    outputs: total(graph.outputs),
    intermediate: computePeakBytes(optimize(graph)),
  };
}
