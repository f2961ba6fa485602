/** Trains one stage: batches in, weights out, with checkpoints that resume bit for bit. */
import {
  check,
  createRandom,
  type Images,
  type NdArray,
  type Parameters,
  type Random,
} from "@aligntok/core";
import { type EngineOptions, jit } from "@aligntok/jit";
import {
  assignParameters,
  computeClipScale,
  computeGradientNorm,
  createAdam,
  createConstantSchedule,
  createEma,
  flattenParameters,
  type RunLog,
  runTraining,
  type Schedule,
  selectParameters,
  splitParameters,
  type TensorSet,
  type TrainingProgress,
  zerosLike,
} from "@aligntok/train";
import {
  type DiscriminatorConfig,
  initDiscriminator,
  isRunningStatistic,
} from "./discriminator.ts";
import { toPlanes } from "./images.ts";
import { createStageStep, type StageConfig, type StageInputs, trainableParts } from "./stages.ts";
import type { TokenizerWeights } from "./tokenizer.ts";

/** What one step learns from. All batches of a stage have one shape, or each shape is compiled anew. */
export interface StageBatch {
  /** `(N, H, W, 3)` uint8, already cropped to the training size. */
  readonly images: Images;
  /** Stage `latent`: the frozen encoder's patch tokens `(N, T, W)`, for where images are not augmented. @default computed */
  readonly features?: NdArray<"float32">;
  /**
   * `(N, h, w, d)`. Stage `refine`: the latents. Stage `perceptual`: those of the tokenizer before the stage,
   * which the semantic loss holds on to. @default computed
   */
  readonly latents?: NdArray<"float32">;
}

export interface TrainStageOptions
  extends Omit<StageConfig, "tokenizer" | "discriminator">,
    EngineOptions {
  /** The run folder of this stage: checkpoints go there, and a run that finds some continues. */
  readonly folder: string;
  readonly steps: number;
  /** The batch of a step; `random` is the step's own stream, for choosing images and crops. */
  readonly batch: (step: number, random: Random) => StageBatch | Promise<StageBatch>;
  /** @default 0 */
  readonly seed?: number;
  /** Learning rate of both networks, or a schedule of it. @default 1e-4 */
  readonly lr?: number | Schedule;
  /** Factor on the learning rate of the encoder. @default 1 */
  readonly encoderLrScale?: number;
  /** Longest gradient of the tokenizer; longer ones are shortened to it. @default no limit */
  readonly maxGradientNorm?: number;
  /** Decay of the moving average of the weights; 0 for none. @default 0.9999 in stage `perceptual`, else 0 */
  readonly emaDecay?: number;
  /** Sizes of the discriminator; `false` trains without one. @default 64 channels, 3 layers */
  readonly discriminator?: DiscriminatorConfig | false;
  /** First step with a discriminator; before it another, cheaper graph runs. @default 5000 in stage `latent`, else 0 */
  readonly discriminatorStart?: number;
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

/** A tokenizer with the discriminator that judged it, which the next stage carries on. */
export interface TrainedStage extends TokenizerWeights {
  /** Weights and running statistics; absent where no discriminator was trained. */
  readonly discriminator?: Parameters;
}

const betas = [0.5, 0.9] as const; // VA-VAE's and LDM's, for both networks

/**
 * Runs a stage to its end, from the latest checkpoint in its folder if there is one.
 *
 * @param previous the tokenizer as the stage before left it, or `initTokenizer`; it is not changed
 * @returns the weights after the last step: their moving average where one was kept
 * @throws AlignTokError as `runTraining`: `aborted`, `diverged`, `io`; `bad-input` for batches that do not fit
 */
export async function trainStage(
  previous: TrainedStage,
  options: TrainStageOptions,
): Promise<TrainedStage> {
  const {
    stage,
    folder,
    steps,
    seed = 0,
    lr = 1e-4,
    encoderLrScale = 1,
    maxGradientNorm,
  } = options;
  const { emaDecay = stage === "perceptual" ? 0.9999 : 0, discriminator: judgeOption = {} } =
    options;
  const { discriminatorStart = stage === "latent" ? 5000 : 0 } = options;
  const schedule = typeof lr === "number" ? createConstantSchedule(lr) : lr;
  const { trainable, frozen } = splitParameters(previous.parameters, trainableParts[stage]);

  const snapshot = selectParameters(previous.parameters, ["encoder", "adapter"]);
  const weights = flattenParameters(trainable); // a copy: the snapshot stays as it is
  const gradients = zerosLike(weights);
  const ema = emaDecay > 0 ? createEma(weights, { decay: emaDecay }) : undefined;
  const groups = stage === "perceptual" ? [{ prefix: "encoder", lrScale: encoderLrScale }] : [];
  const adam = createAdam(weights, { betas, groups, ...(ema && { ema }) });
  const judge =
    judgeOption && steps > discriminatorStart
      ? createJudge(judgeOption, previous.discriminator, createRandom(seed, stage, "discriminator"))
      : undefined;

  /** Without a discriminator among the inputs, its branch is not built. */
  const graph = jit(
    (given: StageInputs) =>
      createStageStep({
        ...lossOptions(options),
        tokenizer: previous.config,
        ...(given.discriminator && judgeOption && { discriminator: judgeOption }),
      })(given),
    options,
  );

  /** Weights that a batch does not stand in for. */
  function constantsFor({
    features,
    latents,
  }: StageBatch): Pick<ArrayInputs, "frozen" | "snapshot"> {
    if (stage === "latent") return features ? {} : { frozen };
    if (stage === "refine") return latents ? {} : { frozen };
    return latents ? {} : { snapshot };
  }

  async function step(index: number): Promise<Record<string, number>> {
    const batch = await options.batch(index, createRandom(seed, stage, "batch", index));
    const judging = index >= discriminatorStart ? judge : undefined;
    const inputs: ArrayInputs = {
      trainable: weights.views,
      ...constantsFor(batch),
      ...(judging && { discriminator: judging.inputs() }),
      ...(options.perceptual && { perceptual: options.perceptual.parameters }),
      images: toPlanes(batch.images),
      ...(batch.features && stage === "latent" && { features: batch.features }),
      ...(batch.latents && stage !== "latent" && { latents: toTokens(batch.latents) }),
    };
    const outputs = await graph(inputs, {
      into: {
        gradients: gradients.views,
        ...(judging && { discriminatorGradients: judging.gradients.views }),
      },
      ...(options.signal && { signal: options.signal }),
    });
    const rate = schedule(index);
    const norm = computeGradientNorm(gradients.flat);
    adam.update(gradients.flat, {
      lr: rate,
      ...(maxGradientNorm && { scale: computeClipScale(norm, maxGradientNorm) }),
    });
    judging?.update(outputs.discriminatorStatistics!, rate);
    const losses = Object.entries(outputs.losses).map(
      ([name, { data }]) => [name, data[0]!] as const,
    );
    return { ...Object.fromEntries(losses), gradientNorm: norm, lr: rate };
  }

  try {
    await runTraining({
      folder,
      steps,
      step,
      task: `stage ${stage}`,
      save: () => ({
        tensors: {
          model: weights.views,
          optimizer: adam.state(),
          ...(ema && { ema: ema.parameters.views }),
          ...(judge && {
            discriminator: judge.inputs(),
            discriminator_optimizer: judge.adam.state(),
          }),
        },
        state: { stage, seed },
      }),
      restore: ({ tensors, state }) => {
        check(
          state.stage === stage && state.seed === seed,
          () =>
            `checkpoint in ${folder}: expected stage ${stage} with seed ${seed}, got stage ${state.stage} with seed ${state.seed}. choose a new folder`,
        );
        assignParameters(weights, tensors.model ?? {});
        adam.restore(tensors.optimizer ?? {});
        if (ema) assignParameters(ema.parameters, tensors.ema ?? {});
        // a run that is made longer may only now come to its discriminator
        const { discriminator, discriminator_optimizer: judgeOptimizer } = tensors;
        if (discriminator && judgeOptimizer) judge?.restore(discriminator, judgeOptimizer);
      },
      ...loopOptions(options),
    });
  } finally {
    graph.dispose();
  }
  const discriminator = judge?.inputs() ?? previous.discriminator;
  return {
    config: previous.config,
    // in the order of the previous weights, so that files list them alike
    parameters: Object.fromEntries(
      Object.keys(previous.parameters).map((name) => [
        name,
        (ema?.parameters ?? weights).views[name] ?? frozen[name]!,
      ]),
    ),
    ...(discriminator && { discriminator }),
  };
}

/** The discriminator with its optimizer. Statistics lie beside the trained weights and move by the graph's outputs. */
function createJudge(config: DiscriminatorConfig, carried: Parameters | undefined, random: Random) {
  const all = Object.entries(carried ?? initDiscriminator(config, random));
  const weights = flattenParameters(
    Object.fromEntries(all.filter(([name]) => !isRunningStatistic(name))),
  );
  const statistics = flattenParameters(
    Object.fromEntries(all.filter(([name]) => isRunningStatistic(name))),
  );
  const gradients = zerosLike(weights);
  const adam = createAdam(weights, { betas });
  return {
    gradients,
    adam,
    restore(saved: TensorSet, optimizer: TensorSet): void {
      assignParameters(weights, saved);
      assignParameters(statistics, saved);
      adam.restore(optimizer);
    },
    /** Live views of everything. */
    inputs: (): Parameters => ({ ...weights.views, ...statistics.views }),
    update(newStatistics: Parameters, lr: number): void {
      adam.update(gradients.flat, { lr });
      for (const name of statistics.names) {
        statistics.views[name]!.data.set(newStatistics[name]!.data);
      }
    },
  };
}

/** `StageInputs` on the host. */
interface ArrayInputs {
  readonly trainable: Parameters;
  readonly frozen?: Parameters;
  readonly snapshot?: Parameters;
  readonly discriminator?: Parameters;
  readonly perceptual?: Parameters;
  readonly images: NdArray<"float32">;
  readonly features?: NdArray<"float32">;
  readonly latents?: NdArray<"float32">;
}

/** `(N, h, w, d)` to `(N, T, d)`, the same memory. */
function toTokens(latents: NdArray<"float32">): NdArray<"float32"> {
  const [n = 0, h = 0, w = 0, d = 0] = latents.shape;
  check(
    latents.shape.length === 4,
    () => `batch latents: expected (N, h, w, d), got [${latents.shape}]`,
  );
  return { ...latents, shape: [n, h * w, d] };
}

/** The part of the options that shapes the loss. */
function lossOptions(options: TrainStageOptions): Omit<StageConfig, "tokenizer" | "discriminator"> {
  const {
    stage,
    perceptual,
    perceptualWeight,
    discriminatorWeight,
    semanticWeight,
    semanticDistance,
  } = options;
  return {
    stage,
    ...(perceptual && { perceptual }),
    ...(perceptualWeight !== undefined && { perceptualWeight }),
    ...(discriminatorWeight !== undefined && { discriminatorWeight }),
    ...(semanticWeight !== undefined && { semanticWeight }),
    ...(semanticDistance && { semanticDistance }),
  };
}

/** The part that the loop takes as it is. */
function loopOptions({
  log,
  logEvery,
  checkpointEvery,
  keep,
  signal,
  onProgress,
}: TrainStageOptions) {
  return {
    ...(log && { log }),
    ...(logEvery && { logEvery }),
    ...(checkpointEvery && { checkpointEvery }),
    ...(keep && { keep }),
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  };
}
