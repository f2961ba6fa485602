import { AlignTokError, check } from "@aligntok/core";
import { clone, engine, keep, type Tensor, zerosLike } from "@tensorflow/tfjs-core";
import { isTensor, mapTree, visitTree } from "../tree.ts";

/**
 * The value of a scalar function of a tree of tensors, and its gradient: a tree like `params`. Parameters
 * that the value does not depend on get zeros.
 *
 * `fn` returns the loss, or `{ loss, aux }` to hand out more than the loss: `aux` is any tree of tensors.
 * Works inside `compile` and, on a tfjs backend that computes, outside of it.
 *
 * @throws AlignTokError `bad-input` when the loss is not a scalar.
 */
export function valueAndGrad<P>(
  fn: (params: P) => Tensor,
  params: P,
): { value: Tensor; gradients: P };
export function valueAndGrad<P, A>(
  fn: (params: P) => { loss: Tensor; aux: A },
  params: P,
): { value: Tensor; aux: A; gradients: P };
export function valueAndGrad<P, A>(
  fn: (params: P) => Tensor | { loss: Tensor; aux: A },
  params: P,
): { value: Tensor; aux?: A; gradients: P } {
  const leaves: Tensor[] = [];
  visitTree(params, isTensor, (leaf) => leaves.push(leaf));
  check(leaves.length > 0, "valueAndGrad: expected at least one tensor in params, got none");
  let kept: A | undefined;
  const { value, grads } = engine().gradients(
    () => {
      const result = fn(params);
      const loss = isTensor(result) ? result : result.loss;
      if (!isTensor(loss) || loss.rank !== 0) {
        throw new AlignTokError(
          "bad-input",
          `valueAndGrad: expected a scalar loss, got ${isTensor(loss) ? `shape [${loss.shape}]` : typeof loss}. reduce it with tf.mean or tf.sum`,
        );
      }
      if (!isTensor(result)) {
        // tfjs frees what a differentiated function makes, except its result and what is kept.
        kept = mapTree(result.aux, isTensor, (tensor) => keep(clone(tensor))) as A;
      }
      return loss;
    },
    leaves,
    undefined,
    true,
  );
  let index = 0;
  const gradients = mapTree(params, isTensor, (leaf) => grads[index++] ?? zerosLike(leaf)) as P;
  if (kept === undefined) return { value, gradients };
  // Copies that the caller's scope frees, in place of the kept ones, which no scope does.
  const aux = mapTree(kept, isTensor, (tensor) => {
    const copy = clone(tensor);
    tensor.kept = false;
    tensor.dispose();
    return copy;
  }) as A;
  return { value, aux, gradients };
}

/** The same values, through which no gradient flows. */
export function stopGradient<T extends Tensor>(x: T): T {
  const tf = engine();
  tf.backend.incRef(x.dataId);
  // A new tensor on the same data has no place on the gradient tape.
  return tf.makeTensorFromDataId(x.dataId, x.shape, x.dtype, tf.backend) as T;
}
