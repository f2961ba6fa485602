/**
 * Linear probe: how much of the class a linear classifier reads off frozen features.
 *
 * Features are standardised by the training set's own mean and deviation (the BatchNorm without affine part
 * of the MAE probe), then multinomial logistic regression is solved to its optimum. The problem is convex, so the
 * result depends on data and `l2` alone: no seed, no learning rate to search.
 */
import { check, type NdArray, ndarray } from "@aligntok/core";
import { minimiseLbfgs } from "./lbfgs.ts";

export interface LinearProbeOptions {
  /** Number of classes, C; labels are 0 to C - 1. */
  readonly classes: number;
  /** Weight of |W|^2 / 2 beside the mean cross-entropy; the bias is free. @default 1e-3 */
  readonly l2?: number;
  /** Most L-BFGS iterations. @default 500 */
  readonly iterations?: number;
}

export interface LinearProbe {
  readonly classes: number;
  /** `(C, D)` float64, for features standardised by `mean` and `scale`. */
  readonly weight: NdArray<"float64">;
  /** `(C)` float64. */
  readonly bias: NdArray<"float64">;
  /** `(D)` float64: mean of the training features. */
  readonly mean: NdArray<"float64">;
  /** `(D)` float64: 1 / standard deviation of the training features, 0 where they are constant. */
  readonly scale: NdArray<"float64">;
  /** Mean cross-entropy in nats plus the penalty, at the end. */
  readonly loss: number;
  readonly iterations: number;
  /** Whether the optimum was reached (largest gradient at most 1e-7), rather than the limit of iterations. */
  readonly converged: boolean;
  /** The most likely class of each row of `(N, D)` features. @throws AlignTokError `bad-input` on another width, NaN or infinity. */
  predict(features: NdArray<"float32">): Int32Array;
}

/**
 * Fits a linear probe.
 *
 * @param features `(N, D)` float32, such as mean-pooled tokens or latents (see `meanPool`)
 * @param labels N class indices
 * @throws AlignTokError `bad-input` for shapes that do not match, labels outside the classes, NaN or infinity.
 */
export function fitLinearProbe(
  features: NdArray<"float32">,
  labels: Int32Array,
  options: LinearProbeOptions,
): LinearProbe {
  const { classes, l2 = 1e-3, iterations = 500 } = options;
  const [count = 0, width = 0] = features.shape;
  checkFeatures(features, width);
  check(
    Number.isInteger(classes) && classes >= 2,
    () => `linear probe: expected at least 2 classes, got ${classes}`,
  );
  check(
    count > 0 && count === labels.length,
    () => `linear probe: expected a label for each of ${count} features, got ${labels.length}`,
  );
  const wrong = labels.findIndex((label) => label < 0 || label >= classes);
  check(
    wrong < 0,
    () => `linear probe: expected labels of 0 to ${classes - 1}, got ${labels[wrong]} at ${wrong}`,
  );
  check(l2 >= 0, () => `linear probe: expected an l2 of at least 0, got ${l2}`);

  const { mean, scale } = computeScaling(features.data, count, width);
  const rows = standardise(features.data, mean, scale);
  const logits = new Float64Array(classes);
  const biasStart = classes * width; // parameters: weight (C, D), then bias (C)

  const result = minimiseLbfgs(
    (parameters, gradient) => {
      gradient.fill(0);
      let loss = 0;
      for (let n = 0; n < count; n++) {
        const row = n * width;
        computeLogits(parameters, rows, row, width, logits);
        const label = labels[n]!;
        const logSum = logSumExp(logits);
        loss += logSum - logits[label]!;
        for (let c = 0; c < classes; c++) {
          const error = (Math.exp(logits[c]! - logSum) - (c === label ? 1 : 0)) / count;
          for (let i = 0; i < width; i++) gradient[c * width + i]! += error * rows[row + i]!;
          gradient[biasStart + c]! += error;
        }
      }
      let squares = 0;
      for (let i = 0; i < biasStart; i++) {
        squares += parameters[i]! ** 2;
        gradient[i]! += l2 * parameters[i]!;
      }
      return loss / count + (l2 / 2) * squares;
    },
    new Float64Array(biasStart + classes),
    { iterations, tolerance: 1e-7 },
  );

  const parameters = result.x;
  return {
    classes,
    weight: ndarray(parameters.slice(0, biasStart), [classes, width], "float64"),
    bias: ndarray(parameters.slice(biasStart), [classes], "float64"),
    mean: ndarray(mean, [width], "float64"),
    scale: ndarray(scale, [width], "float64"),
    loss: result.value,
    iterations: result.iterations,
    converged: result.converged,
    predict(unseen) {
      checkFeatures(unseen, width);
      const standard = standardise(unseen.data, mean, scale);
      const scores = new Float64Array(classes);
      return Int32Array.from({ length: unseen.shape[0]! }, (_, n) => {
        computeLogits(parameters, standard, n * width, width, scores);
        return scores.reduce((best, score, c) => (score > scores[best]! ? c : best), 0);
      });
    },
  };
}

/** Share of predictions that equal the label, in [0, 1]. @throws AlignTokError `bad-input` for different lengths or none. */
export function computeAccuracy(predicted: Int32Array, labels: Int32Array): number {
  check(
    predicted.length === labels.length && labels.length > 0,
    () =>
      `accuracy: expected as many predictions as labels, got ${predicted.length} and ${labels.length}`,
  );
  return predicted.reduce((hits, p, i) => hits + (p === labels[i] ? 1 : 0), 0) / labels.length;
}

function checkFeatures({ dtype, shape, data }: NdArray<"float32">, width: number): void {
  check(
    dtype === "float32" && shape.length === 2 && shape[1] === width,
    () => `linear probe: expected float32 features [N,${width}], got ${dtype} [${shape}]`,
  );
  const bad = data.findIndex((x) => !Number.isFinite(x));
  check(
    bad < 0,
    () =>
      `linear probe: expected finite features, got ${data[bad]} in row ${Math.floor(bad / width)}`,
  );
}

/** Column means and inverse deviations (biased variance); columns constant to float32 precision get 0. */
function computeScaling(
  data: Float32Array,
  count: number,
  width: number,
): { mean: Float64Array; scale: Float64Array } {
  const mean = new Float64Array(width);
  const scale = new Float64Array(width);
  for (let i = 0; i < width; i++) {
    for (let n = 0; n < count; n++) mean[i]! += data[n * width + i]! / count;
    let variance = 0;
    for (let n = 0; n < count; n++) variance += (data[n * width + i]! - mean[i]!) ** 2 / count;
    const deviation = Math.sqrt(variance);
    scale[i] = deviation > 1e-7 * Math.abs(mean[i]!) ? 1 / deviation : 0;
  }
  return { mean, scale };
}

function standardise(data: Float32Array, mean: Float64Array, scale: Float64Array): Float64Array {
  const width = mean.length;
  const out = new Float64Array(data.length);
  for (let start = 0; start < data.length; start += width) {
    for (let i = 0; i < width; i++) out[start + i] = (data[start + i]! - mean[i]!) * scale[i]!;
  }
  return out;
}

/** W x + b of the row that starts at `row`, into `logits`. */
function computeLogits(
  parameters: Float64Array,
  rows: Float64Array,
  row: number,
  width: number,
  logits: Float64Array,
): void {
  const biasStart = logits.length * width;
  for (let c = 0; c < logits.length; c++) {
    let sum = parameters[biasStart + c]!;
    for (let i = 0; i < width; i++) sum += parameters[c * width + i]! * rows[row + i]!;
    logits[c] = sum;
  }
}

function logSumExp(values: Float64Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
}
