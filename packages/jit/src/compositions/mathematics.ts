/** Functions of numbers that ONNX does not have. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { defineComposition } from "./composition.ts";

defineComposition("IsFinite", ["x"], ({ x }) =>
  tf.logicalNot(tf.logicalOr(tf.isNaN(x!), tf.isInf(x!))),
);

/** The angle of the point (b, a): that of a / b, turned by half a circle where b is negative. 0 for the origin. */
defineComposition("Atan2", ["a", "b"], ({ a, b }) => {
  const turn = tf.where(
    tf.less(b!, 0),
    tf.where(tf.less(a!, 0), tf.scalar(-Math.PI), tf.scalar(Math.PI)),
    tf.scalar(0),
  );
  const zero = tf.logicalAnd(tf.equal(a!, 0), tf.equal(b!, 0));
  const angle = tf.atan(tf.div(a!, tf.where(zero, tf.onesLike(b!), b!)));
  return tf.add(angle, turn);
});

defineComposition("Prelu", ["x", "alpha"], ({ x, alpha }) =>
  tf.add(tf.relu(x!), tf.mul(alpha!, tf.minimum(x!, tf.zerosLike(x!)))),
);

/**
 * Running products by doubling: after log2(n) rounds, each of which multiplies what stands a distance before, every
 * place has the product of all before it.
 */
defineComposition("Cumprod", ["x"], ({ x }, { axis, exclusive, reverse }) => {
  const along = tf.util.parseAxisParam(axis as number, x!.shape)[0]!;
  const n = x!.shape[along]!;
  const outer = tf.util.sizeFromShape(x!.shape.slice(0, along));
  const side = (amount: number): [number, number] => (reverse ? [0, amount] : [amount, 0]);
  /** Moved along the axis by some places, with ones where nothing stands. */
  const shifted = (rows: Tensor, distance: number) => {
    const kept = tf.slice(rows, [0, reverse ? distance : 0, 0], [-1, n - distance, -1]);
    return tf.pad(kept, [[0, 0], side(distance), [0, 0]], 1);
  };
  let rows: Tensor = tf.reshape(x!, [outer, n, -1]);
  if (exclusive) rows = shifted(rows, 1);
  for (let distance = 1; distance < n; distance *= 2) {
    rows = tf.mul(rows, shifted(rows, distance));
  }
  return tf.reshape(rows, x!.shape);
});
