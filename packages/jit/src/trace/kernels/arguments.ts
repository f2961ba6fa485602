/** What the rules of several families ask of their arguments. */
import { check } from "@aligntok/core";
import { util } from "@tensorflow/tfjs-core";
import type { Value } from "../../graph/graph.ts";
import type { Infer } from "../kernel.ts";

/** The output is like the first input. */
export const like: Infer = ([x]) => ({ shape: x!.shape, dtype: x!.dtype });

/** tfjs axes: a number, a list, or nothing for all of them. */
export function axesOf(axis: unknown, x: Value): number[] {
  return util.parseAxisParam(axis as number | number[], [...x.shape]);
}

export function axisOf(axis: unknown, x: Value): number {
  return axesOf(axis, x)[0]!;
}

/** Kernel names start like those of tfjs's functions: `Acosh` is tf.acosh. */
const functionName = (kernel: string) => `tf.${kernel[0]!.toLowerCase()}${kernel.slice(1)}`;

/** @throws AlignTokError `bad-input` for an input of another type. */
export function checkTypes(
  kernel: string,
  inputs: readonly (Value | undefined)[],
  ...allowed: readonly Value["dtype"][]
): void {
  for (const input of inputs) {
    check(
      !input || allowed.includes(input.dtype),
      () =>
        `${functionName(kernel)}: expected ${allowed.join(" or ")}, got ${input!.dtype} [${input!.shape}]. use tf.cast`,
    );
  }
}
