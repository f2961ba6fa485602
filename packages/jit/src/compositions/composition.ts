import { engine, registerGradient, type Tensor, zeros } from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { type Compose, defineReplacement } from "../trace/kernel.ts";

/**
 * A kernel of tfjs in terms of other operations: what is recorded in its place, and, on every backend, what its
 * gradient is the gradient of.
 *
 * @param inputs the names of its inputs, none of them optional
 */
export function defineComposition(
  kernelName: string,
  inputs: readonly string[],
  compose: Compose,
): void {
  defineReplacement(kernelName, compose);
  registerGradient({
    kernelName,
    inputsToSave: [...inputs],
    gradFunc: (dy, saved, attributes) => {
      const given = Object.fromEntries(inputs.map((name, i) => [name, saved[i]!]));
      const slopeOf = (name: string) => () =>
        given[name]!.dtype === "float32"
          ? pullback(
              (x) => compose({ ...given, [name]: x }, attributes as Attributes),
              given[name]!,
              dy as Tensor,
            )
          : zeros(given[name]!.shape);
      return Object.fromEntries(inputs.map((name) => [name, slopeOf(name)]));
    },
  });
}

/** The gradient of `sum(fn(x) * dy)` by x; zeros where `fn` does not depend on it. */
export function pullback(fn: (x: Tensor) => Tensor, x: Tensor, dy: Tensor): Tensor {
  const { state } = engine();
  const { kernelDepth, gradientDepth } = state;
  // Inside a kernel tfjs keeps no tape; this one does not leave the function.
  state.kernelDepth = 0;
  // On the way back tfjs takes the outermost gradient for finished, and would throw its tape away after this one.
  if (state.activeTape) state.gradientDepth++;
  try {
    const { grads } = engine().gradients(() => fn(x), [x], dy, true);
    return grads[0] ?? zeros(x.shape);
  } finally {
    Object.assign(state, { kernelDepth, gradientDepth });
  }
}
