/**
 * Max pooling of non-negative maps, stride 2, out of operations whose gradients every engine has.
 *
 * A window of 2 or 3 at stride 2 is the maximum of the even entries, the odd entries and (for 3) the
 * next even entries, along one axis after the other. Where entries tie, the gradient goes to the first,
 * as in PyTorch, except that a window of zeros has none: after a ReLU that gradient ends at the ReLU.
 */
import * as tf from "@tensorflow/tfjs-core";

/**
 * `(N, C, H, W)`, values >= 0, to `(N, C, h, w)`.
 *
 * @param options.ceil whether a last, incomplete window counts (PyTorch's `ceil_mode`)
 */
export function maxPool(
  x: tf.Tensor,
  { size, ceil }: { readonly size: 2 | 3; readonly ceil: boolean },
): tf.Tensor {
  return poolAxis(poolAxis(x, 2), 3);

  function poolAxis(input: tf.Tensor, axis: 2 | 3): tf.Tensor {
    const length = input.shape[axis]!;
    const outputs = Math[ceil ? "ceil" : "floor"]((length - size) / 2) + 1;
    // Pairs (even, odd) up to the last that a window touches; zeros stand for what lies past the edge.
    const pairs = outputs + (size === 3 ? 1 : 0);
    const fitted = fit(input, axis, 2 * pairs);
    const [n, c, h, w] = fitted.shape as [number, number, number, number];
    const split =
      axis === 2
        ? tf.reshape(fitted, [n * c, pairs, 2, w])
        : tf.reshape(fitted, [n * c * h, pairs, 2, 1]);
    const [rows, , , inner] = split.shape as [number, number, number, number];
    const take = (start: number, parity: 0 | 1) =>
      tf.slice(split, [0, start, parity, 0], [rows, outputs, 1, inner]);
    let pooled = tf.maximum(take(0, 0), take(0, 1));
    if (size === 3) pooled = tf.maximum(pooled, take(1, 0));
    return tf.reshape(pooled, axis === 2 ? [n, c, outputs, w] : [n, c, h, outputs]);
  }
}

/** Cuts or zero-pads the end of an axis. */
function fit(x: tf.Tensor, axis: 2 | 3, length: number): tf.Tensor {
  const current = x.shape[axis]!;
  if (length === current) return x;
  if (length < current) {
    const size = [...x.shape];
    size[axis] = length;
    return tf.slice(x, [0, 0, 0, 0], size);
  }
  const padding = x.shape.map((_, i): [number, number] => [0, i === axis ? length - current : 0]);
  return tf.pad(x, padding);
}
