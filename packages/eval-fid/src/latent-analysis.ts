/** What a diffusion model has to learn of a tokenizer's latents: spread of each channel, rank, spatial frequencies. */
import { AlignTokError, check, type NdArray, type OnProgress, reshape } from "@aligntok/core";
import { createMoments } from "./moments.ts";
import { createSpectrumSums, type PowerSpectrum } from "./power-spectrum.ts";
import { computeSymmetricEigenvalues } from "./symmetric-eigenvalues.ts";

export interface LatentAnalysis {
  /** Number of maps, N. */
  readonly count: number;
  /** `[h, w, d]` of one. */
  readonly shape: readonly [number, number, number];
  /** Of each channel over all maps and positions, `(d)`. */
  readonly channels: ChannelStatistics;
  /** `(d, d)` float64 of the channels over all positions, divided by N h w - 1. */
  readonly covariance: NdArray<"float64">;
  /** `(d)` eigenvalues of the covariance, descending: the variances of the principal components. */
  readonly eigenvalues: Float64Array;
  /**
   * From 1 to d: the exponential of the entropy of the eigenvalues as shares of their sum (Roy and Vetterli, 2007), how
   * many directions the latents really use; 0 where all are constant.
   */
  readonly effectiveRank: number;
  readonly spectrum: PowerSpectrum;
}

export interface ChannelStatistics {
  readonly mean: Float64Array;
  /** Divided by N h w - 1, like `torch.std`. */
  readonly std: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
  /** Third standardised moment; 0 for a symmetric channel, and for a constant one. */
  readonly skewness: Float64Array;
  /** Fourth standardised moment less 3: 0 for a normal distribution, above it for heavy tails; 0 for a constant channel. */
  readonly kurtosis: Float64Array;
}

export interface LatentAnalysisOptions {
  /** Stops between batches with AlignTokError `aborted`. @default never */
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of maps so far. @default none */
  readonly onProgress?: OnProgress;
}

/**
 * Analyses a stream of latents in one pass; memory is that of a batch and two d x d matrices.
 *
 * @param batches `(n, h, w, d)` float32 each, of one h, w and d
 * @throws AlignTokError `bad-input` for other shapes, fewer than two positions, NaN or infinity; `aborted` by the signal
 */
export async function computeLatentAnalysis(
  batches: AsyncIterable<NdArray<"float32">> | Iterable<NdArray<"float32">>,
  options: LatentAnalysisOptions = {},
): Promise<LatentAnalysis> {
  const { signal, onProgress } = options;
  let sums: Sums | undefined;
  let count = 0;
  for await (const batch of batches) {
    if (signal?.aborted) {
      throw new AlignTokError("aborted", "latents: aborted by the caller", {
        cause: signal.reason,
      });
    }
    sums ??= createSums(batch);
    const { shape } = sums;
    check(
      batch.shape.slice(1).join() === shape.join(),
      () =>
        `latents: expected [n,${shape}] like the first batch, got [${batch.shape}]. analyse sizes one by one`,
    );
    const [n = 0, h = 0, w = 0, d = 0] = batch.shape;
    sums.moments.add(reshape(batch, [n * h * w, d]));
    sums.spectrum.add(batch);
    sums.tails.add(batch.data);
    count += n;
    onProgress?.({ task: "latents", done: count });
  }
  check(
    sums,
    "latents: expected at least one batch, got none. give a file or folder that is not empty",
  );
  const { shape, moments, spectrum, tails } = sums;
  const covariance = moments.covariance();
  const d = shape[2];
  const mean = moments.mean().data;
  const eigenvalues = computeSymmetricEigenvalues(covariance)
    .map((value) => Math.max(0, value))
    .reverse();
  return {
    count,
    shape,
    channels: {
      mean,
      std: Float64Array.from({ length: d }, (_, c) => Math.sqrt(covariance.data[c * d + c]!)),
      ...tails.values(),
    },
    covariance,
    eigenvalues,
    effectiveRank: effectiveRank(eigenvalues),
    spectrum: spectrum.spectrum(mean),
  };
}

interface Sums {
  readonly shape: readonly [number, number, number];
  readonly moments: ReturnType<typeof createMoments>;
  readonly spectrum: ReturnType<typeof createSpectrumSums>;
  readonly tails: ReturnType<typeof createTails>;
}

function createSums({ shape }: NdArray<"float32">): Sums {
  check(
    shape.length === 4 && shape.slice(1).every((n) => n > 0),
    () => `latents: expected (n, h, w, d), got [${shape}]. transpose what is channels first`,
  );
  const [h, w, d] = shape.slice(1) as [number, number, number];
  return {
    shape: [h, w, d],
    moments: createMoments(d),
    spectrum: createSpectrumSums([h, w, d]),
    tails: createTails(d),
  };
}

function effectiveRank(eigenvalues: Float64Array): number {
  const total = eigenvalues.reduce((sum, value) => sum + value, 0);
  if (total === 0) return 0;
  let entropy = 0;
  for (const value of eigenvalues) {
    if (value > 0) entropy -= (value / total) * Math.log(value / total);
  }
  return Math.exp(entropy);
}

type Tails = Pick<ChannelStatistics, "min" | "max" | "skewness" | "kurtosis">;

/** Extremes and central moments of each channel; batches are joined by the pairwise updates of Pébay (2008). */
function createTails(d: number): { add(data: Float32Array): void; values(): Tails } {
  const min = new Float64Array(d).fill(Number.POSITIVE_INFINITY);
  const max = new Float64Array(d).fill(Number.NEGATIVE_INFINITY);
  const mean = new Float64Array(d);
  const [m2, m3, m4] = [new Float64Array(d), new Float64Array(d), new Float64Array(d)];
  let count = 0;

  function addChannel(data: Float32Array, c: number): void {
    const n = data.length / d;
    let sum = 0;
    for (let i = c; i < data.length; i += d) {
      const x = data[i]!;
      sum += x;
      if (x < min[c]!) min[c] = x;
      if (x > max[c]!) max[c] = x;
    }
    const own = sum / n;
    let [s2, s3, s4] = [0, 0, 0];
    for (let i = c; i < data.length; i += d) {
      const x = data[i]! - own;
      s2 += x * x;
      s3 += x * x * x;
      s4 += x * x * x * x;
    }
    const total = count + n;
    const delta = own - mean[c]!;
    const [a, b] = [count / total, n / total];
    m4[c]! +=
      s4 +
      delta ** 4 * count * b * (a * a - a * b + b * b) +
      6 * delta ** 2 * (a * a * s2 + b * b * m2[c]!) +
      4 * delta * (a * s3 - b * m3[c]!);
    m3[c]! += s3 + delta ** 3 * count * b * (a - b) + 3 * delta * (a * s2 - b * m2[c]!);
    m2[c]! += s2 + delta ** 2 * count * b;
    mean[c]! += delta * b;
  }

  return {
    add(data) {
      if (data.length === 0) return;
      for (let c = 0; c < d; c++) addChannel(data, c);
      count += data.length / d;
    },
    values() {
      const standardised = (sum: number, c: number, power: number) =>
        m2[c]! > 0 ? sum / count / (m2[c]! / count) ** (power / 2) : 0;
      return {
        min,
        max,
        skewness: m3.map((sum, c) => standardised(sum, c, 3)),
        kurtosis: m4.map((sum, c) => (m2[c]! > 0 ? standardised(sum, c, 4) - 3 : 0)),
      };
    },
  };
}
