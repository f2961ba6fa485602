import { isTensor, visitTree } from "../tree.ts";
import { traceBackend } from "./backend.ts";

/**
 * A function whose intermediate values are computed again for its gradient, in place of being kept until then:
 * memory for time, a second forward pass of `fn` at most. Around each block of a deep network it leaves only the
 * values between blocks in memory (Chen et al., arXiv 1604.06174); torch.utils.checkpoint and jax.checkpoint do
 * the same.
 *
 * The result has the same numbers, `fn` may use tensors from outside, and gradients flow to all of them. It works in
 * compiled functions; on a tfjs backend that computes, `fn` is only called. A checkpoint within another is part of it.
 *
 * @param fn a function of tensors to a tensor or a tree of them
 */
export function checkpoint<Arguments extends readonly unknown[], Result>(
  fn: (...args: Arguments) => Result,
): (...args: Arguments) => Result {
  return (...args) => {
    const { recording } = traceBackend;
    if (!recording || recording.region) return fn(...args);
    const outputs = new Set<object>();
    recording.region = { outputs };
    try {
      const result = fn(...args);
      visitTree(result, isTensor, ({ dataId }) => outputs.add(dataId));
      return result;
    } finally {
      recording.region = undefined;
    }
  };
}
