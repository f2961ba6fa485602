import { check, type NdArray } from "@aligntok/core";

/** How far features are from those that they should be. */
export interface FeatureComparison {
  /** Mean over tokens of the cosine of the angle between the two; 1 where they are equal. */
  readonly meanCosine: number;
  /** That of the worst token. */
  readonly minCosine: number;
  /** Largest absolute difference of two elements. */
  readonly maxError: number;
}

/**
 * Compares features token by token: those of int8 or of an image of another size with the exact ones, say.
 *
 * @param features `(..., D)` @param expected of the same shape
 * @throws AlignTokError `bad-input` for other shapes, and for no tokens.
 */
export function compareFeatures(
  features: NdArray<"float32">,
  expected: NdArray<"float32">,
): FeatureComparison {
  check(
    features.shape.join() === expected.shape.join() && features.data.length > 0,
    () =>
      `features: expected two equal shapes with elements, got [${features.shape}] and [${expected.shape}]`,
  );
  const width = features.shape.at(-1) ?? 1;
  const count = features.data.length / width;
  let [sum, minCosine, maxError] = [0, Number.POSITIVE_INFINITY, 0];
  for (let token = 0; token < count; token++) {
    let [dot, a2, b2] = [0, 0, 0];
    for (let i = token * width; i < (token + 1) * width; i++) {
      const [a, b] = [features.data[i]!, expected.data[i]!];
      dot += a * b;
      a2 += a * a;
      b2 += b * b;
      maxError = Math.max(maxError, Math.abs(a - b));
    }
    // two vectors of zeros are alike; one has no angle to any other
    const cosine = a2 === 0 && b2 === 0 ? 1 : dot / Math.sqrt(a2 * b2) || 0;
    sum += cosine;
    minCosine = Math.min(minCosine, cosine);
  }
  return { meanCosine: sum / count, minCosine, maxError };
}
