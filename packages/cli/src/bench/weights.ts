import { createRandom, type NdArray, type Parameters, sizeOf, zeros } from "@aligntok/core";

const drawn = createRandom(0, "bench").normals(2 ** 16);

/** Normal numbers, the same 65,536 over and over: drawing 300 million would take longer than the case. */
export function normals(shape: readonly number[], deviation = 1): NdArray<"float32"> {
  const array = zeros(shape);
  const scaled = drawn.map((x) => x * deviation);
  for (let start = 0; start < array.data.length; start += scaled.length) {
    array.data.set(scaled.subarray(0, array.data.length - start), start);
  }
  return array;
}

/**
 * Weights of the given shapes that keep activations at their scale: scales of norms 1, biases 0, others normal with a
 * variance of 1 over the inputs.
 */
export function createWeights(shapes: Readonly<Record<string, readonly number[]>>): Parameters {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      if (shape.length > 1) {
        return [name, normals(shape, sizeOf(shape.slice(1)) ** -0.5)];
      }
      const array = zeros(shape);
      if (/\.(weight|gamma|running_var)$/.test(name)) array.data.fill(1);
      return [name, array];
    }),
  );
}

export function countElements(params: Parameters): number {
  return Object.values(params).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
