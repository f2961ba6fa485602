/** Feature maps as colours: their three strongest principal components become red, green and blue. */
import { check, createRandom, type NdArray, ndarray } from "@aligntok/core";

const rounds = 60; // of power iteration; the leading directions of feature maps are well apart
const spread = 2; // standard deviations that span half of the range of a colour

/**
 * `(N, h, w, d)` float32, d >= 3, to `(N, h, w, 3)` uint8.
 *
 * The components are those of all N maps together, so that one colour means the same in each. Their signs are
 * fixed (the largest weight is positive), so equal inputs give equal pictures.
 */
export function computePcaMaps(maps: NdArray<"float32">): NdArray<"uint8"> {
  const [n = 0, h = 0, w = 0, d = 0] = maps.shape;
  check(
    maps.shape.length === 4 && d >= 3 && n * h * w > 1,
    () => `pca maps: expected (N, h, w, d) with d >= 3, got [${maps.shape}]`,
  );
  const count = n * h * w;
  const { mean, covariance } = moments(maps.data, count, d);
  const components = leadingDirections(covariance, d);

  const colors = new Uint8Array(count * 3);
  for (const [channel, { direction, variance }] of components.entries()) {
    const scale = variance > 0 ? 127.5 / (spread * Math.sqrt(variance)) : 0;
    for (let i = 0; i < count; i++) {
      let projection = 0;
      for (let j = 0; j < d; j++) projection += (maps.data[i * d + j]! - mean[j]!) * direction[j]!;
      colors[i * 3 + channel] = Math.max(0, Math.min(255, Math.round(127.5 + projection * scale)));
    }
  }
  return ndarray(colors, [n, h, w, 3], "uint8");
}

function moments(data: Float32Array, count: number, d: number) {
  const mean = new Float64Array(d);
  for (let i = 0; i < count * d; i++) mean[i % d]! += data[i]! / count;
  const covariance = new Float64Array(d * d);
  const centred = new Float64Array(d);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < d; j++) centred[j] = data[i * d + j]! - mean[j]!;
    for (let j = 0; j < d; j++) {
      const value = centred[j]! / count;
      for (let k = 0; k < d; k++) covariance[j * d + k]! += value * centred[k]!;
    }
  }
  return { mean, covariance };
}

/** The three leading eigenvectors of a symmetric matrix by power iteration, each orthogonal to those before it. */
function leadingDirections(matrix: Float64Array, d: number) {
  const found: { direction: Float64Array; variance: number }[] = [];
  const random = createRandom(0, "pca");
  while (found.length < 3) {
    let direction = normalized(Float64Array.from(random.normals(d)));
    let variance = 0;
    for (let round = 0; round < rounds; round++) {
      const next = new Float64Array(d);
      for (let j = 0; j < d; j++) {
        for (let k = 0; k < d; k++) next[j]! += matrix[j * d + k]! * direction[k]!;
      }
      for (const { direction: other } of found) {
        let overlap = 0;
        for (let j = 0; j < d; j++) overlap += next[j]! * other[j]!;
        for (let j = 0; j < d; j++) next[j]! -= overlap * other[j]!;
      }
      variance = Math.hypot(...next);
      if (variance === 0) break;
      direction = normalized(next);
    }
    const strongest = direction.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    found.push({ direction: direction.map((v) => v * Math.sign(strongest)), variance });
  }
  return found;
}

function normalized(vector: Float64Array): Float64Array {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
