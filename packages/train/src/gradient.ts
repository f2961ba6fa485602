/** Loops over a flat gradient buffer: norm and clipping as in torch.nn.utils.clip_grad_norm_, and accumulation. */
import { check } from "@aligntok/core";
import { runLoop } from "./flat-memory.ts";

/** Euclidean norm of all gradients together, accumulated in float64. */
export function computeGradientNorm(gradients: Float32Array): number {
  return Math.sqrt(runLoop("sumOfSquares", [gradients]));
}

/** min(1, maxNorm / (norm + 1e-6)): the `scale` to give an optimizer, which then clips in its own loop. */
export function computeClipScale(norm: number, maxNorm: number): number {
  check(
    maxNorm > 0,
    () => `maximal gradient norm: expected a positive number, got ${maxNorm}. 1 is usual`,
  );
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** Scales gradients in place so that their norm is at most `maxNorm`; returns the norm before. */
export function clipGradients(gradients: Float32Array, maxNorm: number): number {
  const norm = computeGradientNorm(gradients);
  const scale = computeClipScale(norm, maxNorm);
  if (scale < 1) runLoop("scale", [gradients], { constants: [scale] });
  return norm;
}

/**
 * sum = sum + weight gradients, in place. With the mean loss of n of N samples and weight n / N, all parts of a
 * batch together give the gradients of the whole batch; start each from `sum.fill(0)`.
 */
export function accumulateGradients(
  sum: Float32Array,
  gradients: Float32Array,
  options: {
    /** @default 1 */
    readonly weight?: number;
  } = {},
): void {
  const { weight = 1 } = options;
  check(
    gradients.length === sum.length,
    () => `gradients: expected ${sum.length} elements like the sum, got ${gradients.length}`,
  );
  runLoop("accumulate", [sum, gradients], { constants: [weight] });
}
