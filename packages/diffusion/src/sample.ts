/**
 * Sampling: the probability-flow ODE from noise (t = 0) to data (t = 1), Euler steps, classifier-free guidance.
 *
 * Follows LightningDiT (hustvl/LightningDiT @ 2725fed, transport/integrators.py and forward_with_cfg): the
 * grid has `points` points and so `points - 1` steps; guidance acts by default on the first three channels only,
 * an inherited DiT quirk that explains its large scales (6.7 to 14; about 4 does the same on all channels).
 * Difference: the two halves of a guided step are two calls of one batch, not one call of two.
 */
import {
  AlignTokError,
  check,
  createRandom,
  type Denoiser,
  type NdArray,
  ndarray,
  type OnProgress,
  sizeOf,
  zeros,
} from "@aligntok/core";

export interface EulerOptions {
  /** Points of the time grid, at least 2; one more than Euler steps. @default 250 */
  readonly points?: number;
  /** Shift s of the grid, t' = s t / (1 + (s - 1) t): below 1 is denser near noise. @default 1 (even steps) */
  readonly timestepShift?: number;
  /** Guidance scale; 1 asks the network once a step, without guidance. @default 1 */
  readonly cfgScale?: number;
  /** Channels that guidance acts on: the first so many, or all. @default 3 */
  readonly cfgChannels?: number | "all";
  /** Guidance acts only at times of at least this. @default 0 */
  readonly cfgIntervalStart?: number;
  readonly signal?: AbortSignal;
  /** Called after each Euler step. */
  readonly onProgress?: OnProgress;
}

export interface SampleOptions extends EulerOptions {
  /** Class of each sample, `0 ... nullLabel`; as many samples as labels. */
  readonly labels: ArrayLike<number>;
  /** `[h, w, d]` of one latent. */
  readonly latentShape: readonly [number, number, number];
  /** Seed of the noise; sample i depends on (seed, i) alone, whatever the batch size. @default 0 */
  readonly seed?: number;
  /** Samples a network call. @default 16 */
  readonly batchSize?: number;
}

/**
 * Draws latents `(N, h, w, d)` float32 from a denoiser, still normalised (see `denormalizeLatents`).
 *
 * @throws AlignTokError `bad-input` for labels or options out of range, `aborted` when the signal fires,
 * `diverged` when a latent is no longer finite.
 */
export async function sampleLatents(
  denoiser: Denoiser,
  options: SampleOptions,
): Promise<NdArray<"float32">> {
  const { labels, latentShape, seed = 0, batchSize = 16, onProgress, ...euler } = options;
  check(
    Number.isInteger(batchSize) && batchSize >= 1,
    `sample: expected a batch size of at least 1, got ${batchSize}`,
  );
  checkLabels(labels, labels.length, denoiser.nullLabel); // all of them before the first batch
  const size = sizeOf(latentShape);
  const out = ndarray(new Float32Array(labels.length * size), [labels.length, ...latentShape]);
  const batches = Math.ceil(labels.length / batchSize);
  for (let batch = 0; batch < batches; batch++) {
    const start = batch * batchSize;
    const end = Math.min(start + batchSize, labels.length);
    const noise = zeros([end - start, ...latentShape]);
    for (let i = start; i < end; i++) {
      noise.data.set(createRandom(seed, "sample", i).normals(size), (i - start) * size);
    }
    const latents = await integrateEuler(denoiser, noise, {
      ...euler,
      labels: Int32Array.from({ length: end - start }, (_, i) => labels[start + i]!),
      onProgress: ({ task, done, total = 0 }) =>
        onProgress?.({ task, done: batch * total + done, total: batches * total }),
    });
    out.data.set(latents.data, start * size);
  }
  return out;
}

/** Carries one batch of noise `(n, h, w, d)` to latents; a pure function of its arguments. Throws as `sampleLatents` does. */
export async function integrateEuler(
  denoiser: Denoiser,
  noise: NdArray<"float32">,
  options: EulerOptions & { readonly labels: Int32Array },
): Promise<NdArray<"float32">> {
  const { labels, points = 250, timestepShift = 1, signal, onProgress } = options;
  const { cfgScale = 1, cfgChannels = 3, cfgIntervalStart = 0 } = options;
  checkGuidance(cfgScale, cfgChannels);
  checkLabels(labels, noise.shape[0]!, denoiser.nullLabel);
  const grid = createTimeGrid(points, timestepShift);
  const none = new Int32Array(labels.length).fill(denoiser.nullLabel);
  let x = noise;
  for (let step = 0; step + 1 < points; step++) {
    if (signal?.aborted) throw new AlignTokError("aborted", "sample: stopped by its signal");
    const t = grid[step]!;
    const times = new Float32Array(labels.length).fill(t);
    let velocity = await denoiser.velocity(x, times, labels);
    if (cfgScale !== 1 && t >= cfgIntervalStart) {
      const unconditional = await denoiser.velocity(x, times, none);
      velocity = guide(velocity, unconditional, { scale: cfgScale, channels: cfgChannels });
    }
    const dt = grid[step + 1]! - t;
    x = ndarray(
      x.data.map((value, i) => value + dt * velocity.data[i]!),
      x.shape,
    );
    onProgress?.({ task: "sampling", done: step + 1, total: points - 1 });
  }
  if (!x.data.every(Number.isFinite)) {
    throw new AlignTokError(
      "diverged",
      `sample: expected finite latents, got NaN or infinity. check the weights, or lower cfgScale (${cfgScale})`,
    );
  }
  return x;
}

/**
 * `points` times from 0 to 1, evenly spaced and then shifted, t' = s t / (1 + (s - 1) t).
 * LightningDiT's s = 0.3 is Stable Diffusion 3's shift of 1 / 0.3 in the opposite direction of time.
 */
export function createTimeGrid(points: number, timestepShift = 1): Float32Array {
  check(
    Number.isInteger(points) && points >= 2,
    `time grid: expected at least 2 points (1 step), got ${points}`,
  );
  check(
    timestepShift > 0 && Number.isFinite(timestepShift),
    `time grid: expected a positive timestepShift, got ${timestepShift}`,
  );
  return Float32Array.from({ length: points }, (_, i) => {
    const t = i / (points - 1);
    return (timestepShift * t) / (1 + (timestepShift - 1) * t);
  });
}

/**
 * Classifier-free guidance on velocities `(N, h, w, d)`: `u + scale (c - u)` on the first `channels` channels,
 * the conditional velocity `c` on the rest.
 */
export function guide(
  conditional: NdArray<"float32">,
  unconditional: NdArray<"float32">,
  options: { readonly scale: number; readonly channels: number | "all" },
): NdArray<"float32"> {
  const depth = conditional.shape.at(-1)!;
  const channels = options.channels === "all" ? depth : options.channels;
  const data = conditional.data.slice();
  for (let i = 0; i < data.length; i++) {
    if (i % depth >= channels) continue;
    const u = unconditional.data[i]!;
    data[i] = u + options.scale * (data[i]! - u);
  }
  return ndarray(data, conditional.shape);
}

function checkGuidance(scale: number, channels: number | "all"): void {
  check(Number.isFinite(scale), `sample: expected a finite cfgScale, got ${scale}`);
  check(
    channels === "all" || (Number.isInteger(channels) && channels >= 1),
    () => `sample: expected cfgChannels "all" or a positive whole number, got ${channels}`,
  );
}

function checkLabels(labels: ArrayLike<number>, count: number, nullLabel: number): void {
  check(
    labels.length === count,
    () => `sample: expected ${count} labels, one a latent, got ${labels.length}`,
  );
  for (let i = 0; i < count; i++) {
    const label = labels[i]!;
    check(
      Number.isInteger(label) && label >= 0 && label <= nullLabel,
      () => `sample: expected labels of 0 to ${nullLabel} (no class), got ${label}`,
    );
  }
}
