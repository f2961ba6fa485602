/** The inputs of the golden cases, repeated from tools/golden/eval-fid-*.py number by number. */
import { type Images, type NdArray, ndarray } from "@aligntok/core";

function createGenerator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state;
  };
}

/** `(n, d)` float32: neighbouring columns correlated, spread growing with the column. */
export function generateFeatures(
  seed: number,
  n: number,
  d: number,
  { offset = 0, gain = 1 } = {},
): NdArray<"float32"> {
  const next = createGenerator(seed);
  const data = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    let last = 0;
    for (let j = 0; j < d; j++) {
      last = 0.5 * last + (next() / 2 ** 32 - 0.5) * (1 + j * 0.125);
      data[i * d + j] = offset + gain * last;
    }
  }
  return ndarray(data, [n, d]);
}

/** Waves with noise, and the same with more noise and a shift. */
export function generateImagePair(
  seed: number,
  shape: readonly number[],
  noise: number,
): [Images, Images] {
  const [n, h, w, c] = shape as [number, number, number, number];
  const next = createGenerator(seed);
  const a = new Uint8Array(n * h * w * c);
  const b = new Uint8Array(a.length);
  for (let at = 0; at < a.length; at++) {
    const channel = at % c;
    const x = Math.floor(at / c) % w;
    const y = Math.floor(at / (c * w)) % h;
    const image = Math.floor(at / (c * w * h));
    const value =
      ((y * 7 + x * 5 + channel * 40 + image * 90) % 200) + Math.floor(next() / 2 ** 28);
    a[at] = value;
    const change = (Math.floor(next() / 2 ** 16) % (2 * noise + 1)) - noise;
    b[at] = Math.min(255, Math.max(0, value + 3 + change));
  }
  return [ndarray(a, shape, "uint8"), ndarray(b, shape, "uint8")];
}

/** Features with columns of very different spread, and labels that they half explain. */
export function generateProblem(
  seed: number,
  n: number,
  d: number,
  classes: number,
): { features: NdArray<"float32">; labels: Int32Array } {
  const next = createGenerator(seed);
  const uniform = () => next() / 2 ** 32;
  const data = new Float32Array(n * d);
  const labels = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    labels[i] = Math.floor(uniform() * classes);
    for (let j = 0; j < d; j++) {
      const signal = j % classes === labels[i] ? 0.75 : 0;
      data[i * d + j] = 3 + (uniform() + uniform() + signal) * 4 ** ((j % 5) - 2);
    }
  }
  return { features: ndarray(data, [n, d]), labels };
}

/** Largest difference of two lists, relative to the largest number of the second. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
    size = Math.max(size, Math.abs(expected[i]!));
    if (Number.isNaN(actual[i]!)) return Number.POSITIVE_INFINITY;
  }
  return worst / size;
}

/** A shuffle of n samples for each epoch. */
export function generateOrders(seed: number, n: number, epochs: number): number[][] {
  const next = createGenerator(seed);
  return Array.from({ length: epochs }, () => {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor((next() * (i + 1)) / 2 ** 32);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  });
}

/** Waves of a frequency for each channel under noise, with an offset and a heavy-tailed channel. */
export function generateLatents(seed: number, shape: readonly number[]): NdArray<"float32"> {
  const [n, h, w, d] = shape as [number, number, number, number];
  const next = createGenerator(seed);
  const data = new Float32Array(n * h * w * d);
  for (let at = 0; at < data.length; at++) {
    const c = at % d;
    const x = Math.floor(at / d) % w;
    const y = Math.floor(at / (d * w)) % h;
    const image = Math.floor(at / (d * w * h));
    const noise = next() / 2 ** 32 - 0.5;
    const phase = (y * (c + 1) + x * (Math.floor(c / 2) + 1) + image) % 8;
    const gain = c === 0 && x === 0 && y === 0 ? 8 : 1;
    data[at] = c - 1 + (phase - 3.5) * 0.25 + noise * gain;
  }
  return ndarray(data, shape);
}
