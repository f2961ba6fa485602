/** Sums by numbered bins. What falls outside of the bins is left out, as in TensorFlow. */
import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { defineComposition } from "./composition.ts";

defineComposition(
  "UnsortedSegmentSum",
  ["x", "segmentIds"],
  ({ x, segmentIds }, { numSegments }) => {
    check(
      segmentIds!.rank === 1 && x!.shape[0] === segmentIds!.shape[0],
      () =>
        `tf.unsortedSegmentSum: expected a segment for each of ${x!.shape[0]} rows, got [${segmentIds!.shape}]`,
    );
    return sumBins(x!, segmentIds!, numSegments as number);
  },
);

defineComposition("Bincount", ["x", "weights"], ({ x, weights }, { size }) =>
  sumBins(tf.reshape(weightsOf(x!, weights!), [-1]), tf.reshape(x!, [-1]), size as number),
);

defineComposition("DenseBincount", ["x", "weights"], ({ x, weights }, { size, binaryOutput }) => {
  const bins = size as number;
  const rows = x!.rank === 2 ? x!.shape[0]! : 1;
  const places = tf.reshape(x!, [rows, -1]);
  const outside = tf.logicalOr(tf.less(places, 0), tf.greaterEqual(places, bins));
  const starts = tf.tensor(
    Array.from({ length: rows }, (_, i) => i * bins),
    [rows, 1],
    "int32",
  );
  const numbers = tf.where(outside, tf.scalar(-1, "int32"), tf.add(places, starts));
  const flat = tf.reshape(weightsOf(x!, weights!), [-1]);
  const counts = sumBins(flat, tf.reshape(numbers, [-1]), rows * bins);
  const table = tf.reshape(counts, x!.rank === 2 ? [rows, bins] : [bins]);
  return binaryOutput ? tf.cast(tf.notEqual(table, 0), "float32") : table;
});

/** No weights at all stand for ones. */
function weightsOf(x: Tensor, weights: Tensor): Tensor {
  return weights.size > 0 ? weights : tf.ones(x.shape, weights.dtype as "float32");
}

/** Rows of x, each added to the row of its number in the output. */
function sumBins(x: Tensor, numbers: Tensor, bins: number): Tensor {
  // One bin more takes what belongs to none.
  const outside = tf.logicalOr(tf.less(numbers, 0), tf.greaterEqual(numbers, bins));
  const places = tf.where(outside, tf.scalar(bins, "int32"), numbers);
  const rest = x.shape.slice(1);
  const sums = tf.scatterND(tf.expandDims(places, -1), x, [bins + 1, ...rest]);
  return tf.slice(
    sums,
    sums.shape.map(() => 0),
    [bins, ...rest],
  );
}
