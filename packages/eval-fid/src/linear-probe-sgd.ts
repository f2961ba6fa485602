/**
 * Linear probe as papers train it: batch normalisation without affine part, a linear layer, SGD with momentum under a
 * cosine schedule, several learning rates on the same batches (facebookresearch/mae @ efb2a80, main_linprobe.py, and
 * facebookresearch/dinov2 @ b8931f7, eval/linear.py). No weight decay, no augmentation: the features are fixed.
 * Differences: the linear layer starts at zero, not at N(0, 0.01); the problem is convex, so only the path differs.
 */
import { setImmediate } from "node:timers/promises";
import { AlignTokError, check, createRandom, type NdArray, type OnProgress } from "@aligntok/core";
import { checkProblem, createProbe, type LinearProbe, logSumExp } from "./linear-probe.ts";

export interface TrainProbeOptions {
  /** Number of classes, C; labels are 0 to C - 1. */
  readonly classes: number;
  /** Learning rates at a batch of 256; each trains a probe of its own. @default [0.01, 0.03, 0.1, 0.3, 1] */
  readonly rates?: readonly number[];
  /** Passes over the samples. @default 90 */
  readonly epochs?: number;
  /** Samples at a time, at most N; what does not fill a batch is left out of its epoch. @default 256 */
  readonly batchSize?: number;
  /** @default 0.9 */
  readonly momentum?: number;
  /** Of the order of the samples. @default 0 */
  readonly seed?: number;
  /** Stops between batches with AlignTokError `aborted`. @default never */
  readonly signal?: AbortSignal;
  /** @default none */
  readonly onProgress?: OnProgress;
}

/** `mean` and `scale` come of running statistics, as in PyTorch's BatchNorm1d with momentum 0.1 and eps 1e-6. */
export interface TrainedProbe extends LinearProbe {
  /** Learning rate at a batch of 256. */
  readonly rate: number;
  /** Mean cross-entropy in nats over the batches of the last epoch, NaN or infinite where the rate was too high. */
  readonly loss: number;
}

const eps = 1e-6;
const statisticsMomentum = 0.1;
const batchOfRate = 256;
/** Rows at a time, so that each weight is read once for four. */
const group = 4;
/** Milliseconds of computing after which timers and Ctrl-C get a turn. */
const turn = 50;

/**
 * Trains a linear probe for each learning rate; papers report the best on held-out samples.
 *
 * Time grows with epochs x N x C x D x rates: two seconds for 90 epochs of 10,000 samples with 10 classes and D = 32, three
 * minutes for one of ImageNet (1.28 million, 1000 classes).
 *
 * @param features `(N, D)` float32, such as mean-pooled latents (see `poolBatches`)
 * @param labels N class indices
 * @returns in the order of the rates
 * @throws AlignTokError `bad-input` for shapes that do not match, labels outside the classes, NaN or infinity, `aborted`
 */
export async function trainLinearProbes(
  features: NdArray<"float32">,
  labels: Int32Array,
  options: TrainProbeOptions,
): Promise<readonly TrainedProbe[]> {
  const { seed = 0 } = options;
  const count = features.shape[0] ?? 0;
  const order = (epoch: number) => createRandom(seed, "probe-order", epoch).permutation(count);
  return trainInOrder(features, labels, { ...options, order });
}

/** `trainLinearProbes` over a given order of the samples of each epoch. */
export async function trainInOrder(
  features: NdArray<"float32">,
  labels: Int32Array,
  options: TrainProbeOptions & { readonly order: (epoch: number) => ArrayLike<number> },
): Promise<readonly TrainedProbe[]> {
  const { classes, rates = [0.01, 0.03, 0.1, 0.3, 1], epochs = 90, momentum = 0.9 } = options;
  const { order, signal, onProgress } = options;
  checkProblem(features, labels, classes);
  checkOptions({ ...options, rates, epochs });
  const [count = 0, width = 0] = features.shape;
  const batchSize = Math.min(options.batchSize ?? 256, count);
  check(
    batchSize >= 2,
    () => `linear probe: expected batches of 2 or more, got ${batchSize}. raise batchSize`,
  );

  const perEpoch = Math.floor(count / batchSize);
  const steps = epochs * perEpoch;
  const statistics = createStatistics(width);
  const heads = rates.map((rate) => createHead(classes, width, rate));
  const padded = new Float64Array(Math.ceil(batchSize / group) * group * width);
  const rows = padded.subarray(0, batchSize * width);
  const answers = new Int32Array(batchSize);
  let resumed = performance.now();
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sequence = order(epoch);
    for (const head of heads) head.loss = 0;
    for (let batch = 0; batch < perEpoch; batch++) {
      for (let n = 0; n < batchSize; n++) {
        const at = sequence[batch * batchSize + n]!;
        answers[n] = labels[at]!;
        rows.set(features.data.subarray(at * width, (at + 1) * width), n * width);
      }
      normalise(rows, statistics, batchSize);
      const progress = (epoch * perEpoch + batch) / steps;
      const rate = (0.5 * (1 + Math.cos(Math.PI * progress)) * batchSize) / batchOfRate;
      for (const head of heads)
        descend(head, padded, answers, { rate: rate * head.rate, momentum });
      if (performance.now() - resumed > turn) {
        await setImmediate();
        resumed = performance.now();
      }
      if (signal?.aborted) {
        throw new AlignTokError("aborted", "linear probe: aborted by the caller", {
          cause: signal.reason,
        });
      }
    }
    onProgress?.({ task: "linear probe", done: epoch + 1, total: epochs });
  }
  const scale = statistics.variance.map((variance) => 1 / Math.sqrt(variance + eps));
  return heads.map(({ weight, bias, rate, loss }) => ({
    ...createProbe({ weight, bias, mean: statistics.mean, scale }),
    rate,
    loss: loss / perEpoch,
  }));
}

function checkOptions({
  rates,
  epochs,
  momentum = 0,
  batchSize = 2,
}: TrainProbeOptions & { readonly rates: readonly number[]; readonly epochs: number }): void {
  check(
    rates.length > 0 && rates.every((rate) => rate > 0 && Number.isFinite(rate)),
    () => `linear probe: expected learning rates above 0, got [${rates}]. leave out the others`,
  );
  for (const [name, value] of Object.entries({ epochs, batchSize })) {
    check(
      Number.isInteger(value) && value >= 1,
      () => `linear probe: expected ${name} of at least 1, got ${value}. raise it`,
    );
  }
  check(
    momentum >= 0 && momentum < 1,
    () => `linear probe: expected a momentum from 0 to below 1, got ${momentum}. 0.9 is usual`,
  );
}

interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

function createStatistics(width: number): Statistics {
  return { mean: new Float64Array(width), variance: new Float64Array(width).fill(1) };
}

/** Standardises a batch in place by its own mean and biased variance; the running variance takes the unbiased one. */
function normalise(rows: Float64Array, running: Statistics, count: number): void {
  const width = running.mean.length;
  for (let i = 0; i < width; i++) {
    let mean = 0;
    for (let at = i; at < rows.length; at += width) mean += rows[at]!;
    mean /= count;
    let squares = 0;
    for (let at = i; at < rows.length; at += width) squares += (rows[at]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / count + eps);
    for (let at = i; at < rows.length; at += width) rows[at] = (rows[at]! - mean) * scale;
    running.mean[i]! += statisticsMomentum * (mean - running.mean[i]!);
    running.variance[i]! += statisticsMomentum * (squares / (count - 1) - running.variance[i]!);
  }
}

/** A linear layer with its momentum. */
interface Head {
  readonly rate: number;
  readonly weight: Float64Array;
  readonly bias: Float64Array;
  readonly weightVelocity: Float64Array;
  readonly biasVelocity: Float64Array;
  /** `(group, C)` logits, then gradients of the loss by them. */
  readonly errors: Float64Array;
  /** Sum over the batches of this epoch. */
  loss: number;
}

function createHead(classes: number, width: number, rate: number): Head {
  return {
    rate,
    weight: new Float64Array(classes * width),
    bias: new Float64Array(classes),
    weightVelocity: new Float64Array(classes * width),
    biasVelocity: new Float64Array(classes),
    errors: new Float64Array(group * classes),
    loss: 0,
  };
}

/** One step of SGD as PyTorch defines it: v = momentum v + gradient, w = w - rate v. `rows` may hold more than the batch. */
function descend(
  head: Head,
  rows: Float64Array,
  answers: Int32Array,
  { rate, momentum }: { readonly rate: number; readonly momentum: number },
): void {
  const { weight, bias, weightVelocity, biasVelocity } = head;
  const [classes, count] = [bias.length, answers.length];
  for (let i = 0; i < weight.length; i++) weightVelocity[i]! *= momentum;
  for (let c = 0; c < classes; c++) biasVelocity[c]! *= momentum;
  for (let n = 0; n < count; n += group) {
    computeLogits(head, rows, n);
    for (let k = 0; k < group; k++) {
      const line = head.errors.subarray(k * classes, (k + 1) * classes);
      if (n + k < count) head.loss += toErrors(line, answers[n + k]!, count);
      else line.fill(0);
    }
    addGradients(head, rows, n);
  }
  for (let i = 0; i < weight.length; i++) weight[i]! -= rate * weightVelocity[i]!;
  for (let c = 0; c < classes; c++) bias[c]! -= rate * biasVelocity[c]!;
}

/** Logits of the group of rows from n on, into `errors`. */
function computeLogits({ weight, bias, errors }: Head, rows: Float64Array, n: number): void {
  const classes = bias.length;
  const width = weight.length / classes;
  const [r0, r1, r2, r3] = [n * width, (n + 1) * width, (n + 2) * width, (n + 3) * width];
  for (let c = 0; c < classes; c++) {
    const line = c * width;
    let [s0, s1, s2, s3] = [bias[c]!, bias[c]!, bias[c]!, bias[c]!];
    for (let i = 0; i < width; i++) {
      const w = weight[line + i]!;
      s0 += w * rows[r0 + i]!;
      s1 += w * rows[r1 + i]!;
      s2 += w * rows[r2 + i]!;
      s3 += w * rows[r3 + i]!;
    }
    errors[c] = s0;
    errors[classes + c] = s1;
    errors[2 * classes + c] = s2;
    errors[3 * classes + c] = s3;
  }
}

/** Turns logits into (softmax - one-hot) / count; returns the cross-entropy over count. */
function toErrors(logits: Float64Array, answer: number, count: number): number {
  const logSum = logSumExp(logits);
  const loss = (logSum - logits[answer]!) / count;
  for (let c = 0; c < logits.length; c++) {
    logits[c] = (Math.exp(logits[c]! - logSum) - (c === answer ? 1 : 0)) / count;
  }
  return loss;
}

function addGradients(head: Head, rows: Float64Array, n: number): void {
  const { weightVelocity, biasVelocity, errors } = head;
  const classes = biasVelocity.length;
  const width = weightVelocity.length / classes;
  const [r0, r1, r2, r3] = [n * width, (n + 1) * width, (n + 2) * width, (n + 3) * width];
  for (let c = 0; c < classes; c++) {
    const line = c * width;
    const e0 = errors[c]!;
    const e1 = errors[classes + c]!;
    const e2 = errors[2 * classes + c]!;
    const e3 = errors[3 * classes + c]!;
    for (let i = 0; i < width; i++) {
      weightVelocity[line + i]! +=
        e0 * rows[r0 + i]! + e1 * rows[r1 + i]! + e2 * rows[r2 + i]! + e3 * rows[r3 + i]!;
    }
    biasVelocity[c]! += e0 + e1 + e2 + e3;
  }
}
