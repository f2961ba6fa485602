/** How the variance of feature maps spreads over spatial frequencies: the 2-D Fourier transform, averaged over rings. */
import { type NdArray, ndarray } from "@aligntok/core";

export interface PowerSpectrum {
  /** `(B)` centres of the rings in cycles per position: 0, 1 / max(h, w), ... up to at most 0.5; corners lie beyond. */
  readonly frequencies: Float64Array;
  /**
   * `(d, B)` float64: mean of |F|^2 / (h w) over a ring and all maps, the channel's mean over everything taken off.
   * White noise has its variance in every ring.
   */
  readonly power: NdArray<"float64">;
}

/** Adds up spectra of maps of one shape. */
export interface SpectrumSums {
  /** `(n, h, w, d)`, all finite. */
  add(maps: NdArray<"float32">): void;
  /** @param mean of each channel over all that was added */
  spectrum(mean: Float64Array): PowerSpectrum;
}

/** The transform is a direct one, a real plane at a time: O(h w (h + w)), enough for maps of up to 64 x 64. */
export function createSpectrumSums(
  shape: readonly [h: number, w: number, d: number],
): SpectrumSums {
  const [h, w, d] = shape;
  const half = Math.floor(w / 2) + 1; // columns of the transform of a real plane that tell all
  const { rings, ringOf } = assignRings(h, w);
  const sums = new Float64Array(d * rings);
  const sizes = new Float64Array(rings);
  for (let u = 0; u < h; u++) {
    for (let v = 0; v < half; v++) {
      const ring = ringOf(u, v);
      if (ring < rings) sizes[ring]! += multiplicity(v, w);
    }
  }
  const turnsW = createTurns(w);
  const turnsH = createTurns(h);
  const real = new Float64Array(h * half);
  const imaginary = new Float64Array(h * half);
  let count = 0;

  function addPlane(data: Float32Array, start: number, channel: number): void {
    for (let i = 0; i < h; i++) {
      for (let v = 0; v < half; v++) {
        let [re, im] = [0, 0];
        for (let j = 0; j < w; j++) {
          const x = data[start + (i * w + j) * d]!;
          const turn = (v * j) % w;
          re += x * turnsW.cos[turn]!;
          im -= x * turnsW.sin[turn]!;
        }
        real[i * half + v] = re;
        imaginary[i * half + v] = im;
      }
    }
    for (let u = 0; u < h; u++) {
      for (let v = 0; v < half; v++) {
        const ring = ringOf(u, v);
        if (ring >= rings) continue;
        let [re, im] = [0, 0];
        for (let i = 0; i < h; i++) {
          const turn = (u * i) % h;
          const [a, b] = [real[i * half + v]!, imaginary[i * half + v]!];
          re += a * turnsH.cos[turn]! + b * turnsH.sin[turn]!;
          im += b * turnsH.cos[turn]! - a * turnsH.sin[turn]!;
        }
        sums[channel * rings + ring]! += (multiplicity(v, w) * (re * re + im * im)) / (h * w);
      }
    }
  }

  return {
    add({ data }) {
      for (let start = 0; start < data.length; start += h * w * d) {
        for (let c = 0; c < d; c++) addPlane(data, start + c, c);
        count++;
      }
    },
    spectrum(mean) {
      const power = sums.map((sum, i) => sum / (sizes[i % rings]! * count));
      for (let c = 0; c < d; c++) {
        // ring 0 is the single frequency 0, where a constant shows
        power[c * rings] = Math.max(0, power[c * rings]! - h * w * mean[c]! ** 2);
      }
      return {
        frequencies: Float64Array.from({ length: rings }, (_, ring) => ring / Math.max(h, w)),
        power: ndarray(power, [d, rings], "float64"),
      };
    },
  };
}

/** Rings as wide as the lowest frequency of the longer side. */
function assignRings(
  h: number,
  w: number,
): { rings: number; ringOf(u: number, v: number): number } {
  const side = Math.max(h, w);
  const table = Int32Array.from({ length: h * w }, (_, at) => {
    const [u, v] = [Math.floor(at / w), at % w];
    return Math.round(side * Math.hypot(Math.min(u, h - u) / h, Math.min(v, w - v) / w));
  });
  return { rings: Math.floor(side / 2) + 1, ringOf: (u, v) => table[u * w + v]! };
}

/** How many columns of the whole transform column v of its half stands for. */
function multiplicity(v: number, w: number): 1 | 2 {
  return v === 0 || 2 * v === w ? 1 : 2;
}

function createTurns(n: number): { readonly cos: Float64Array; readonly sin: Float64Array } {
  const angles = Float64Array.from({ length: n }, (_, i) => (2 * Math.PI * i) / n);
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}
