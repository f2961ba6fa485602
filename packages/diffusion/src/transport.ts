/**
 * Flow matching on straight paths: `x_t = t x_1 + (1 - t) x_0` from noise x_0 (t = 0) to data x_1 (t = 1), and a
 * network that predicts the velocity `x_1 - x_0` (SiT, Ma et al. 2024; LightningDiT, hustvl/LightningDiT @ 2725fed,
 * transport/transport.py).
 *
 * Everything random is drawn on the host by `drawTransport`, so that the loss is a pure function of its inputs.
 */
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";

export interface TransportOptions {
  /** Law of t: sigmoid of a standard normal number, or uniform on [0, 1). @default "logit-normal" */
  readonly timeDistribution?: "logit-normal" | "uniform";
  /** Probability that a label is replaced by the null label, for guidance. @default 0.1 */
  readonly labelDropout?: number;
}

/** What is random in a training step of n latents. */
export interface TransportDraw {
  /** `(n, ...latentShape)` standard normal. */
  readonly noise: NdArray<"float32">;
  /** `(n)` in [0, 1]. */
  readonly times: NdArray<"float32">;
  /** `(n)` the labels, some of them replaced by the null label. */
  readonly labels: NdArray<"int32">;
}

/** Draws noise, times and dropped labels of one training step: a function of (seed, step) alone. */
export function drawTransport(
  batch: {
    readonly labels: ArrayLike<number>;
    readonly latentShape: readonly number[];
    readonly nullLabel: number;
  },
  stream: { readonly seed: number; readonly step: number },
  options: TransportOptions = {},
): TransportDraw {
  const { timeDistribution = "logit-normal", labelDropout = 0.1 } = options;
  const { labels, latentShape, nullLabel } = batch;
  const n = labels.length;
  const random = (name: string) => createRandom(stream.seed, name, stream.step);
  const noise = random("noise");
  const time = random("time");
  const drop = random("label-dropout");
  return {
    noise: ndarray(noise.normals(n * sizeOf(latentShape)), [n, ...latentShape]),
    times: ndarray(
      Float32Array.from({ length: n }, () =>
        timeDistribution === "uniform" ? time.uniform() : 1 / (1 + Math.exp(-time.normal())),
      ),
      [n],
    ),
    labels: ndarray(
      Int32Array.from({ length: n }, (_, i) =>
        drop.uniform() < labelDropout ? nullLabel : labels[i]!,
      ),
      [n],
      "int32",
    ),
  };
}

/**
 * The flow-matching loss of a velocity network on tensors, inside a trace or eagerly.
 *
 * `mse` is the mean of (v - (x_1 - x_0))² over all elements; with `cosine`, `loss` adds the mean over positions
 * of 1 - cos(v, x_1 - x_0) taken over channels (axis 1). `latents` and `noise` are (B, C, H, W), `times` (B).
 */
export function flowMatchingLoss(
  velocity: (x: tf.Tensor, t: tf.Tensor) => tf.Tensor,
  inputs: {
    readonly latents: tf.Tensor;
    readonly noise: tf.Tensor;
    readonly times: tf.Tensor;
  },
  options: {
    /** Whether to add the cosine term, with weight 1. @default false */
    readonly cosine?: boolean;
  } = {},
): { loss: tf.Tensor; mse: tf.Tensor } {
  const { latents, noise, times } = inputs;
  const t = tf.reshape(times, [-1, 1, 1, 1]);
  const x = tf.add(tf.mul(latents, t), tf.mul(noise, tf.sub(1, t)));
  const target = tf.sub(latents, noise);
  const predicted = velocity(x, times);
  const mse = tf.mean(tf.square(tf.sub(predicted, target)));
  if (!options.cosine) return { loss: mse, mse };
  const distance = tf.mean(tf.sub(1, cosineSimilarity(predicted, target)));
  return { loss: tf.add(mse, distance), mse };
}

/** (B, C, H, W) twice to (B, H, W); norms below 1e-8 count as 1e-8, as in PyTorch. */
function cosineSimilarity(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const dot = tf.sum(tf.mul(a, b), 1);
  const norm = (x: tf.Tensor) => tf.sqrt(tf.maximum(tf.sum(tf.square(x), 1), 1e-16));
  return tf.div(dot, tf.mul(norm(a), norm(b)));
}
