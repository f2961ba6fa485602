/**
 * The run of any training of a tokenizer: batches in, weights out, with a discriminator beside them and checkpoints
 * that resume bit for bit.
 */
import {
  batchRanges,
  check,
  createRandom,
  type Images,
  type NdArray,
  type Parameters,
  type Random,
  rows,
} from "@aligntok/core";
import { type EngineOptions, type Jitted, jit } from "@aligntok/jit";
import {
  type AdamGroup,
  accumulateGradients,
  assignParameters,
  computeClipScale,
  computeGradientNorm,
  createAdamW,
  createConstantSchedule,
  createEma,
  type FlatParameters,
  flattenParameters,
  type Metrics,
  type RunLog,
  runTraining,
  type Schedule,
  type TrainingProgress,
  zerosLike,
} from "@aligntok/train";
import type { DiscriminatorConfig } from "./discriminator.ts";
import { betas, createDiscriminatorRun, type DiscriminatorRun } from "./discriminator-run.ts";
import { toPlanes } from "./images.ts";
import type {
  ReconstructionConfig,
  StageInputs,
  StageLosses,
  StageOutputs,
} from "./reconstruction-step.ts";

/** What one step learns from. All batches of a run have one shape, or each shape is compiled anew. */
export interface StageBatch {
  /** `(N, H, W, 3)` uint8, already cropped to the training size. */
  readonly images: Images;
  /**
   * Patch tokens `(N, T, W)` of the encoder before the stage, for where images are not augmented: stage `latent`, or
   * `perceptual` with the semantic target `features`. @default computed
   */
  readonly features?: NdArray<"float32">;
  /**
   * `(N, h, w, d)`. Stage `refine`: the latents. Stage `perceptual`: those of the tokenizer before the stage,
   * which the semantic loss holds on to. @default computed
   */
  readonly latents?: NdArray<"float32">;
}

export interface ReconstructionTrainingOptions
  extends Omit<ReconstructionConfig, "discriminator">,
    EngineOptions {
  /** The folder of this run: checkpoints go there, and a run that finds some continues. */
  readonly folder: string;
  readonly steps: number;
  /** The batch of a step; `random` is the step's own stream, for choosing images and crops. */
  readonly batch: (step: number, random: Random) => StageBatch | Promise<StageBatch>;
  /**
   * Images that go through the networks at once. A larger batch is cut, and the gradients of its parts are averaged;
   * adaptive weights and batch statistics are then those of the parts. @default the whole batch
   */
  readonly microBatch?: number;
  /** @default 0 */
  readonly seed?: number;
  /** Learning rate of both networks, or a schedule of it. @default 1e-4, VA-VAE's */
  readonly lr?: number | Schedule;
  /** Decoupled weight decay of the tokenizer, as AdamW's. @default 0 */
  readonly weightDecay?: number;
  /** Largest norm of the tokenizer's gradients; longer ones are scaled down. @default no limit */
  readonly maxGradNorm?: number;
  /** Sizes of the discriminator; `false` trains without one. @default 64 channels, 3 layers */
  readonly discriminator?: DiscriminatorConfig | false;
  /** Steps before the discriminator starts; until then another, cheaper graph runs. */
  readonly discriminatorStart?: number;
  /** Decay of the moving average of the weights; 0 for none. */
  readonly emaDecay?: number;
  /**
   * At a loss or gradient that is not finite, or a loss beyond `maxLoss`: `stop` ends the run, `skip` leaves out the step
   * (weights, optimizers, average and statistics stay as they are) and counts it. @default "stop"
   */
  readonly onNaN?: "stop" | "skip";
  /** Magnitude from which a loss term counts as exploded. @default 1e4 */
  readonly maxLoss?: number;
  /** Where losses are logged. @default none */
  readonly log?: RunLog;
  /** Steps between log lines. @default 10 */
  readonly logEvery?: number;
  /** Steps between checkpoints. @default 1000 */
  readonly checkpointEvery?: number;
  /** Checkpoints to leave. @default 2 */
  readonly keep?: number;
  /** Ends the run with a checkpoint: after the step under way, or at once with `worker`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/** `Trained`: a tokenizer's weights, of some kind. */
export interface EvaluationOptions<Trained> {
  /**
   * Measures the tokenizer as it stands (its moving average where one is kept) at each checkpoint; what it gives goes to
   * the log. @default nothing
   */
  readonly evaluate?: (tokenizer: Trained, step: number) => Metrics | Promise<Metrics>;
}

/** What a kind of tokenizer adds to the run. */
export interface ReconstructionTraining<Trained> {
  /** Names the run in its checkpoints, which no other may take up, and its random streams. */
  readonly name: string;
  /** What progress and errors call it. */
  readonly task: string;
  /** What is trained, as it starts; it is copied. */
  readonly trainable: Parameters;
  /** The discriminator to go on with. @default a new one */
  readonly carried?: Parameters;
  /** Learning rates of parts. @default none */
  readonly groups?: readonly AdamGroup[];
  /** Adam's, of the tokenizer. @default 1e-8 */
  readonly eps?: number;
  readonly discriminatorStart: number;
  readonly emaDecay: number;
  /** The function of a step, with a discriminator or without. */
  readonly step: (discriminator?: DiscriminatorConfig) => (inputs: StageInputs) => StageOutputs;
  /**
   * What the step needs besides images, trained weights, discriminator and perceptual term. `part` is where in the step's
   * whole batch this one lies.
   */
  readonly inputs: (batch: StageBatch, part: BatchPart) => ExtraInputs;
  /** The tokenizer of trained weights. */
  readonly complete: (trained: Parameters) => Trained;
}

/** Where a batch lies in the whole one of a step. */
export interface BatchPart {
  readonly step: number;
  readonly start: number;
  readonly end: number;
}

/** Host arrays of `StageInputs`. */
export type ExtraInputs = {
  readonly [Name in "frozen" | "snapshot"]?: Parameters;
} & { readonly [Name in "features" | "latents" | "noise"]?: NdArray<"float32"> };

/** Losses that `maxLoss` holds for; the generator's has a weight that adapts to it. */
const limited = [
  "absolute",
  "perceptual",
  "semantic",
  "kl",
  "vf",
  "discriminator",
] as const satisfies readonly (keyof StageLosses)[];

/**
 * Runs a training to its end, from the latest checkpoint in its folder if there is one.
 *
 * @returns the tokenizer of the last step's weights, or of their moving average where one was kept
 */
export async function trainReconstruction<Trained extends object>(
  training: ReconstructionTraining<Trained>,
  options: ReconstructionTrainingOptions & EvaluationOptions<Trained>,
): Promise<Trained & { readonly discriminator?: Parameters }> {
  const { name, task, groups = [], eps = 1e-8, discriminatorStart, emaDecay, complete } = training;
  const { folder, steps, seed = 0, lr = 1e-4, weightDecay = 0, maxGradNorm } = options;
  const { evaluate, ...run } = options;
  const { discriminator: config = {}, maxLoss = 1e4 } = options;
  const schedule = typeof lr === "number" ? createConstantSchedule(lr) : lr;
  const weights = flattenParameters(training.trainable);
  const ema = emaDecay > 0 ? createEma(weights, { decay: emaDecay }) : undefined;
  const tokenizer = () => complete((ema?.parameters ?? weights).views);
  const adam = createAdamW(weights, { betas, eps, weightDecay, groups, ...(ema && { ema }) });
  const discriminator =
    config && steps > discriminatorStart
      ? createDiscriminatorRun(config, training.carried, createRandom(seed, name, "discriminator"))
      : undefined;
  const alone = jit(training.step(), options);
  const adversarial = discriminator && config ? jit(training.step(config), options) : undefined;
  const compute = createGradients(training, { weights, options });

  async function step(index: number) {
    const batch = await options.batch(index, createRandom(seed, name, "batch", index));
    const started = index >= discriminatorStart && discriminator && adversarial;
    if (started) alone.dispose(); // one graph at a time is enough
    const result = await compute(started ? adversarial : alone, {
      index,
      batch,
      discriminator: started ? discriminator : undefined,
    });
    const rate = schedule(index);
    const norm = computeGradientNorm(result.gradients);
    return {
      metrics: {
        ...result.losses,
        gradientNorm: norm,
        ...(started && {
          discriminatorGradientNorm: computeGradientNorm(result.discriminatorGradients),
        }),
        lr: rate,
      },
      apply() {
        adam.update(result.gradients, {
          lr: rate,
          ...(maxGradNorm && { scale: computeClipScale(norm, maxGradNorm) }),
        });
        if (started) {
          discriminator.update(result.discriminatorGradients, { lr: rate }, result.statistics);
        }
      },
    };
  }

  try {
    await runTraining({
      ...run,
      task,
      step,
      ...(evaluate && { evaluate: (done: number) => evaluate(tokenizer(), done) }),
      limits: Object.fromEntries(limited.map((term) => [term, maxLoss])),
      save: () => ({
        tensors: {
          model: weights.views,
          optimizer: adam.state(),
          ...(ema && { ema: ema.parameters.views }),
          ...discriminator?.save(),
        },
        state: { task, seed },
      }),
      restore: ({ tensors, state }) => {
        check(
          state.task === task && state.seed === seed,
          () =>
            `checkpoint in ${folder}: expected ${task} with seed ${seed}, got ${state.task} with seed ${state.seed}. choose a new folder`,
        );
        assignParameters(weights, tensors.model ?? {});
        adam.restore(tensors.optimizer ?? {});
        if (ema) assignParameters(ema.parameters, tensors.ema ?? {});
        // a run that is made longer may only now come to its discriminator
        const { discriminator: saved, discriminator_optimizer: optimizer } = tensors;
        if (saved && optimizer) discriminator?.restore(saved, optimizer);
      },
    });
  } finally {
    alone.dispose();
    adversarial?.dispose();
  }
  const carried = discriminator?.inputs() ?? training.carried;
  return { ...tokenizer(), ...(carried && { discriminator: carried }) };
}

type Graph = Jitted<StageInputs, StageOutputs>;

/** Losses and gradients of a batch, in parts where it is larger than `microBatch`. Changes nothing but its own buffers. */
function createGradients(
  training: Pick<ReconstructionTraining<unknown>, "inputs">,
  {
    weights,
    options,
  }: { readonly weights: FlatParameters; readonly options: ReconstructionTrainingOptions },
) {
  const { microBatch, perceptual, signal } = options;
  const gradients = zerosLike(weights);
  let sum: FlatParameters | undefined;
  let discriminatorSum: FlatParameters | undefined;

  return async (
    graph: Graph,
    {
      index,
      batch,
      discriminator,
    }: {
      readonly index: number;
      readonly batch: StageBatch;
      readonly discriminator: DiscriminatorRun | undefined;
    },
  ) => {
    const count = batch.images.shape[0]!;
    const ranges = [...batchRanges(count, microBatch ?? count)];
    const parts = ranges.length;
    if (parts > 1) {
      sum ??= zerosLike(weights);
      sum.flat.fill(0);
      if (discriminator) {
        discriminatorSum ??= zerosLike(discriminator.gradients);
        discriminatorSum.flat.fill(0);
      }
    }
    let statistics: Parameters = {};
    const losses: Record<string, number> = {};
    for (const [start, end] of ranges) {
      const part = parts > 1 ? partOf(batch, start, end) : batch;
      const outputs = await graph(
        {
          trainable: weights.views,
          ...training.inputs(part, { step: index, start, end }),
          ...(discriminator && { discriminator: { ...discriminator.inputs(), ...statistics } }),
          ...(perceptual && { perceptual: perceptual.parameters }),
          images: toPlanes(part.images),
        },
        {
          into: {
            gradients: gradients.views,
            ...(discriminator && { discriminatorGradients: discriminator.gradients.views }),
          },
          ...(signal && { signal }),
        },
      );
      statistics = outputs.discriminatorStatistics ?? {};
      const weight = (end - start) / count;
      for (const [name, { data }] of Object.entries(outputs.losses)) {
        losses[name] = (losses[name] ?? 0) + weight * data[0]!;
      }
      if (sum) accumulateGradients(sum.flat, gradients.flat, { weight });
      if (discriminator && discriminatorSum) {
        accumulateGradients(discriminatorSum.flat, discriminator.gradients.flat, { weight });
      }
    }
    return {
      losses,
      statistics,
      gradients: (sum ?? gradients).flat,
      discriminatorGradients:
        (discriminatorSum ?? discriminator?.gradients)?.flat ?? new Float32Array(),
    };
  };
}

function partOf({ images, features, latents }: StageBatch, start: number, end: number): StageBatch {
  return {
    images: rows(images, start, end),
    ...(features && { features: rows(features, start, end) }),
    ...(latents && { latents: rows(latents, start, end) }),
  };
}
