/** Norm and clipping of a flat gradient buffer, with the semantics of torch.nn.utils.clip_grad_norm_. */
import { check } from "@aligntok/core";

/** Euclidean norm of all gradients together, accumulated in float64. */
export function computeGradientNorm(gradients: Float32Array): number {
  // four sums: one alone would wait for each addition to finish
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = gradients.length - (gradients.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += gradients[i]! * gradients[i]!;
    b += gradients[i + 1]! * gradients[i + 1]!;
    c += gradients[i + 2]! * gradients[i + 2]!;
    d += gradients[i + 3]! * gradients[i + 3]!;
  }
  for (let i = whole; i < gradients.length; i++) a += gradients[i]! * gradients[i]!;
  return Math.sqrt(a + b + c + d);
}

/** min(1, maxNorm / (norm + 1e-6)): the `scale` to give an optimizer, which then clips in its own loop. */
export function computeClipScale(norm: number, maxNorm: number): number {
  check(maxNorm > 0, () => `maximal gradient norm: expected a positive number, got ${maxNorm}`);
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** Scales gradients in place so that their norm is at most `maxNorm`; returns the norm before. */
export function clipGradients(gradients: Float32Array, maxNorm: number): number {
  const norm = computeGradientNorm(gradients);
  const scale = computeClipScale(norm, maxNorm);
  if (scale < 1) for (let i = 0; i < gradients.length; i++) gradients[i] = gradients[i]! * scale;
  return norm;
}
