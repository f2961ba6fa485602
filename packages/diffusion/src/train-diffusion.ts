/**
 * Latent diffusion training: flow matching on normalised latents with AdamW and a moving average, resumable.
 *
 * Recipe of LightningDiT (hustvl/LightningDiT @ 2725fed, train.py): lr 2e-4 constant, betas (0.9, 0.95), no weight
 * decay, no clipping, EMA 0.9999 that starts as a copy. Differences: fp32; the cosine term is off unless asked for.
 * Order, flips, noise, times and dropped labels of a step are functions of (seed, step), so a resumed run equals an
 * uninterrupted one bit for bit.
 */
import { check, createRandom, type LatentStats, type NdArray, sizeOf, zeros } from "@aligntok/core";
import { type EngineOptions, jit, valueAndGrad } from "@aligntok/jit";
import {
  assignParameters,
  computeClipScale,
  computeGradientNorm,
  createAdamW,
  createConstantSchedule,
  createEma,
  createRunLog,
  flattenParameters,
  runTraining,
  type Schedule,
  type TrainingProgress,
  zerosLike,
} from "@aligntok/train";
import * as tf from "@tensorflow/tfjs-core";
import { type DiffusionModel, saveDiffusion } from "./diffusion-model.ts";
import { computeLatentStats, type LatentSet, normalizeLatents } from "./latents.ts";
import {
  applyLightningDit,
  initLightningDit,
  isFixedParameter,
  type LightningDitConfig,
} from "./lightningdit.ts";
import { drawTransport, flowMatchingLoss, type TransportOptions } from "./transport.ts";

export interface TrainDiffusionOptions extends TransportOptions, LatentSet, EngineOptions {
  readonly config: LightningDitConfig;
  /** Statistics to normalise by. @default those of `latents` */
  readonly stats?: LatentStats;
  /** Steps in all, those of earlier processes included. */
  readonly steps: number;
  readonly batchSize: number;
  /** Learning rate, or its schedule. @default 2e-4 */
  readonly lr?: number | Schedule;
  /** @default 0.9999 */
  readonly emaDecay?: number;
  /** Largest norm of the gradients; longer ones are scaled down. @default no limit */
  readonly maxGradNorm?: number;
  /** Adds the cosine term to the loss. @default false */
  readonly cosine?: boolean;
  /** @default 0 */
  readonly seed?: number;
  /** Run folder: logs, `checkpoints/`, and at the end the model itself (see `loadDiffusion`). */
  readonly folder: string;
  /** Steps between log lines. @default 10 */
  readonly logEvery?: number;
  /** Steps between checkpoints. @default 1000 */
  readonly checkpointEvery?: number;
  /** Ends the run with a checkpoint: after the step under way, or at once with `worker`. */
  readonly signal?: AbortSignal;
  /** Called after each step with `loss` (the mean squared error) and `gradNorm`. */
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/**
 * Trains a LightningDiT on latents `(N, S, S, C)` with labels, from the folder's latest checkpoint if there is one, and
 * returns the model, which is also saved in the folder.
 *
 * @throws AlignTokError `bad-input` for latents or labels that do not fit the configuration; `aborted` after the signal,
 * everything saved; `diverged` for a loss that is not finite; `io` where the folder cannot be written.
 */
export async function trainDiffusion(options: TrainDiffusionOptions): Promise<DiffusionModel> {
  const { config, labels, batchSize, steps, folder, seed = 0, emaDecay = 0.9999 } = options;
  const { lr = 2e-4, maxGradNorm, cosine = false, signal, onProgress } = options;
  checkLatents(options);
  const stats = options.stats ?? computeLatentStats(options.latents);
  const schedule = typeof lr === "number" ? createConstantSchedule(lr) : lr;

  const initial = Object.entries(initLightningDit(config, createRandom(seed, "init")));
  const fixed = Object.fromEntries(initial.filter(([name]) => isFixedParameter(name)));
  const trained = flattenParameters(
    Object.fromEntries(initial.filter(([name]) => !isFixedParameter(name))),
  );
  const gradients = zerosLike(trained);
  const ema = createEma(trained, { decay: emaDecay });
  const optimizer = createAdamW(trained, { betas: [0.9, 0.95], weightDecay: 0, ema });

  const latentShape = options.latents.shape.slice(1);
  const computeLoss = jit(({ params, fixed, latents, noise, times, labels }: StepInputs) => {
    const { aux, gradients } = valueAndGrad((weights: typeof params) => {
      const { loss, mse } = flowMatchingLoss(
        (x, t) => applyLightningDit(config, { ...weights, ...fixed }, x, t, labels),
        { latents: toNchw(latents), noise: toNchw(noise), times },
        { cosine },
      );
      return { loss, aux: mse };
    }, params);
    return { mse: aux, gradients };
  }, options);
  const drawOrder = createOrder(labels.length, seed);

  async function step(index: number): Promise<{ loss: number; gradNorm: number }> {
    const chosen = drawOrder(index * batchSize, batchSize);
    const drawn = drawTransport(
      {
        labels: chosen.map((item) => labels[item]!),
        latentShape,
        nullLabel: config.classes,
      },
      { seed, step: index },
      options,
    );
    const latents = normalizeLatents(gatherLatents(options, chosen, { seed, step: index }), stats);
    const { mse } = await computeLoss(
      { params: trained.views, fixed, latents, ...drawn },
      { into: { gradients: gradients.views }, ...(signal && { signal }) },
    );
    const gradNorm = computeGradientNorm(gradients.flat);
    const scale = maxGradNorm === undefined ? 1 : computeClipScale(gradNorm, maxGradNorm);
    optimizer.update(gradients.flat, { lr: schedule(index), scale });
    return { loss: mse.data[0]!, gradNorm };
  }

  const log = createRunLog(folder);
  try {
    await runTraining({
      folder,
      steps,
      step,
      save: () => ({
        tensors: {
          model: { ...fixed, ...trained.views },
          ema: { ...fixed, ...ema.parameters.views },
          optimizer: optimizer.state(),
        },
        state: { seed, batchSize },
      }),
      restore({ tensors, state, path }) {
        check(
          state.seed === seed && state.batchSize === batchSize,
          () =>
            `resuming ${path}: expected its seed ${state.seed} and batchSize ${state.batchSize}, got ${seed} and ${batchSize}. give the same or choose a new folder`,
        );
        assignParameters(trained, tensors.model!);
        assignParameters(ema.parameters, tensors.ema!);
        optimizer.restore(tensors.optimizer!);
      },
      log,
      task: "diffusion",
      ...(options.logEvery !== undefined && { logEvery: options.logEvery }),
      ...(options.checkpointEvery !== undefined && { checkpointEvery: options.checkpointEvery }),
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
  } finally {
    log.close();
    computeLoss.dispose();
  }
  const model = {
    config,
    params: { ...fixed, ...trained.views },
    ema: { ...fixed, ...ema.parameters.views },
    stats,
  };
  await saveDiffusion(folder, model);
  return model;
}

interface StepInputs {
  readonly params: Readonly<Record<string, tf.Tensor>>;
  readonly fixed: Readonly<Record<string, tf.Tensor>>;
  readonly latents: tf.Tensor; // (B, S, S, C), as noise
  readonly noise: tf.Tensor;
  readonly times: tf.Tensor;
  readonly labels: tf.Tensor;
}

function toNchw(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 3, 1, 2]);
}

/** The items at positions `start` to `start + count` of one random order of all items after another. */
function createOrder(items: number, seed: number): (start: number, count: number) => Int32Array {
  let epoch = -1;
  let order: Uint32Array = new Uint32Array();
  return (start, count) =>
    Int32Array.from({ length: count }, (_, i) => {
      const wanted = Math.floor((start + i) / items);
      if (wanted !== epoch) {
        epoch = wanted;
        order = createRandom(seed, "order", epoch).permutation(items);
      }
      return order[(start + i) % items]!;
    });
}

/** Latents of the chosen items, each mirrored with probability one half where mirrored latents were given. */
function gatherLatents(
  { latents, flipped }: LatentSet,
  chosen: Int32Array,
  { seed, step }: { readonly seed: number; readonly step: number },
): NdArray<"float32"> {
  const shape = latents.shape.slice(1);
  const size = sizeOf(shape);
  const flip = createRandom(seed, "flip", step);
  const batch = zeros([chosen.length, ...shape]);
  chosen.forEach((item, i) => {
    const { data } = flipped && flip.uniform() < 0.5 ? flipped : latents;
    batch.data.set(data.subarray(item * size, (item + 1) * size), i * size);
  });
  return batch;
}

function checkLatents({ config, latents, flipped, labels, batchSize }: TrainDiffusionOptions) {
  const [count = 0, ...shape] = latents.shape;
  const { inputSize, inChannels, classes } = config;
  check(
    count > 0 && shape.join() === [inputSize, inputSize, inChannels].join(),
    () =>
      `latents: expected (N, ${inputSize}, ${inputSize}, ${inChannels}) for this config, got [${latents.shape}]`,
  );
  check(
    !flipped || flipped.shape.join() === latents.shape.join(),
    () => `flipped latents: expected [${latents.shape}] like latents, got [${flipped?.shape}]`,
  );
  check(
    labels.length === count,
    () => `labels: expected ${count}, one a latent, got ${labels.length}`,
  );
  const wrong = labels.find((label) => label < 0 || label >= classes);
  check(wrong === undefined, () => `labels: expected 0 to ${classes - 1}, got ${wrong}`);
  check(
    Number.isInteger(batchSize) && batchSize >= 1,
    () => `batchSize: expected a whole number of at least 1, got ${batchSize}`,
  );
}
