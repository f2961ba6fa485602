/**
 * The resampling filters of Pillow and the fixed-point weights made of them.
 *
 * Reference: Pillow, `src/libImaging/Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`).
 */

/** Pillow's `Image.Resampling`, in lower case. */
export type ResizeFilter = "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";

export const resizeFilters: readonly ResizeFilter[] = [
  "nearest",
  "box",
  "bilinear",
  "hamming",
  "bicubic",
  "lanczos",
];

interface Filter {
  /** The filter is zero farther than this from its centre, in pixels of the coarser image. */
  readonly support: number;
  readonly at: (x: number) => number;
}

const filters: Readonly<Record<Exclude<ResizeFilter, "nearest">, Filter>> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    at(x) {
      if (x === 0) return 1;
      if (Math.abs(x) >= 1) return 0;
      const angle = Math.abs(x) * Math.PI;
      return (Math.sin(angle) / angle) * (0.54 + 0.46 * Math.cos(angle));
    },
  },
  bicubic: {
    support: 2,
    // Keys' kernel with a = -0.5, evaluated in Pillow's order so that every double is the same
    at(x) {
      const d = Math.abs(x);
      const a = -0.5;
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
      return 0;
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x: number): number {
  if (x === 0) return 1;
  const angle = x * Math.PI;
  return Math.sin(angle) / angle;
}

/** Weights are whole multiples of 2^-22: 8 bits of pixel and 2 of overshoot fill the rest of an int32. */
export const weightBits = 22;

/** Output pixel `i` is the sum over k < `counts[i]` of `weights[i * stride + k]` times input pixel `firsts[i] + k`. */
export interface Taps {
  readonly firsts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Int32Array;
  readonly stride: number;
}

/** Taps of output pixels `from` (inclusive) to `to` (exclusive) of a line resized from `inputSize` to `outputSize`. */
export function computeTaps(
  filter: Exclude<ResizeFilter, "nearest">,
  line: {
    readonly inputSize: number;
    readonly outputSize: number;
    readonly from: number;
    readonly to: number;
  },
): Taps {
  const { inputSize, outputSize, from, to } = line;
  const { support: unitSupport, at } = filters[filter];
  const scale = inputSize / outputSize;
  // shrinking widens the filter, so that every input pixel counts: antialiasing
  const filterScale = Math.max(scale, 1);
  const support = unitSupport * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const firsts = new Int32Array(to - from);
  const counts = new Int32Array(to - from);
  const weights = new Int32Array((to - from) * stride);
  const exact = new Float64Array(stride);
  const inverse = 1 / filterScale;
  for (let i = 0; i < to - from; i++) {
    const center = (from + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(inputSize, Math.trunc(center + support + 0.5)) - first;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const weight = at((k + first - center + 0.5) * inverse);
      exact[k] = weight;
      sum += weight;
    }
    for (let k = 0; k < count; k++) {
      const weight = sum === 0 ? exact[k]! : exact[k]! / sum;
      // storing into an Int32Array truncates, as C's cast does
      weights[i * stride + k] = weight * 2 ** weightBits + (weight < 0 ? -0.5 : 0.5);
    }
    firsts[i] = first;
    counts[i] = count;
  }
  return { firsts, counts, weights, stride };
}
