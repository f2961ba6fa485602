import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

export interface CrossEntropyOptions {
  /** Share of the target that is spread evenly over all classes, 0 ... 1. @default 0 */
  readonly labelSmoothing?: number;
  /** What becomes of the losses of the rows. @default "mean" */
  readonly reduction?: "none" | "mean" | "sum";
}

/**
 * Softmax cross-entropy, `-sum(target * log softmax(logits))` for each row, like torch.nn.functional.cross_entropy, but
 * with the classes on the last axis.
 *
 * @param logits `(..., C)`; -Infinity hides a class that the target leaves out
 * @param target int32 class numbers `(...)` in 0 ... C - 1 (others count as a target of zeros), or float32
 * probabilities `(..., C)`, which need not add up to 1; no gradient flows to it
 * @returns a scalar, or `(...)` with reduction `"none"`
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { labelSmoothing = 0, reduction = "mean" }: CrossEntropyOptions = {},
): Tensor {
  const rows = logits.shape.slice(0, -1);
  const classes = logits.shape.at(-1) ?? 0;
  const wanted = target.dtype === "int32" ? rows : logits.shape;
  check(
    logits.rank > 0 && target.shape.join() === wanted.join(),
    () =>
      `crossEntropy of logits [${logits.shape}]: expected int32 classes [${rows}] or float32 probabilities [${logits.shape}], got ${target.dtype} [${target.shape}]`,
  );
  check(
    labelSmoothing >= 0 && labelSmoothing <= 1,
    () => `crossEntropy labelSmoothing: expected 0 to 1, got ${labelSmoothing}`,
  );
  const hard = target.dtype === "int32" ? tf.cast(tf.oneHot(target, classes), "float32") : target;
  const share = labelSmoothing / classes;
  const smooth = labelSmoothing === 0 ? hard : tf.add(tf.mul(hard, 1 - labelSmoothing), share);
  const losses = rowLosses(logits, smooth);
  if (reduction === "none") return losses;
  return reduction === "sum" ? tf.sum(losses) : tf.mean(losses);
}

/** `(..., C)` twice to `(...)`. */
function rowLosses(logits: Tensor, target: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [logits, target, save] = args as [Tensor, Tensor, tf.GradSaveFunc];
    const log = tf.logSoftmax(logits);
    save([log, target]);
    return {
      // A class that the target leaves out adds nothing, even where its logit is -Infinity: 0 * -Infinity is NaN.
      value: tf.neg(tf.sum(tf.where(tf.equal(target, 0), 0, tf.mul(target, log)), -1)),
      // softmax * sum(target) - target
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [log, target] = saved as [Tensor, Tensor];
        const slope = tf.sub(tf.mul(tf.exp(log), tf.sum(target, -1, true)), target);
        return [tf.mul(slope, tf.expandDims(dy, -1)), tf.zerosLike(target)];
      },
    };
  })(logits, target);
}
