/**
 * Linear probe: how much of the class a linear classifier reads off frozen features.
 *
 * Features are standardised by the training set's own mean and deviation (the BatchNorm without affine part
 * of the MAE probe), then multinomial logistic regression is solved to its optimum. The problem is convex, so the
 * result depends on data and `l2` alone: no seed, no learning rate to search.
 */
import type { NdArray } from "@aligntok/core";
import { check } from "@aligntok/core";
import { minimiseLbfgs } from "./lbfgs.ts";
import {
  checkProblem,
  createProbe,
  type LinearProbe,
  logSumExp,
  standardise,
} from "./linear-probe.ts";

export interface LinearProbeOptions {
  /** Number of classes, C; labels are 0 to C - 1. */
  readonly classes: number;
  /** Weight of |W|^2 / 2 beside the mean cross-entropy; the bias is free. @default 1e-3 */
  readonly l2?: number;
  /** Most L-BFGS iterations. @default 500 */
  readonly iterations?: number;
}

/** `mean` and `scale` are those of the training features; `scale` is 0 where they are constant. */
export interface FittedProbe extends LinearProbe {
  /** Mean cross-entropy in nats plus the penalty, at the end. */
  readonly loss: number;
  readonly iterations: number;
  /** Whether the optimum was reached (largest gradient at most 1e-7), rather than the limit of iterations. */
  readonly converged: boolean;
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
): FittedProbe {
  const { classes, l2 = 1e-3, iterations = 500 } = options;
  checkProblem(features, labels, classes);
  check(l2 >= 0, () => `linear probe: expected an l2 of at least 0, got ${l2}. 0 goes without`);
  const [count = 0, width = 0] = features.shape;

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

  const { x, value: loss, iterations: done, converged } = result;
  const probe = { weight: x.slice(0, biasStart), bias: x.slice(biasStart), mean, scale };
  return { ...createProbe(probe), loss, iterations: done, converged };
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
