import { check } from "@aligntok/core";
import { runLoop } from "./flat-memory.ts";
import { type FlatParameters, zerosLike } from "./parameters.ts";

/** An exponential moving average of parameters, the weights that are evaluated and published. */
export interface Ema {
  /** The averaged values, under the parameters' names. */
  readonly parameters: FlatParameters;
  readonly decay: number;
  /** average += (source - average) * (1 - decay). Do not call it where an optimizer was given this average. */
  update(source: FlatParameters): void;
}

/** A moving average that starts as a copy of the parameters, as upstream diffusion trainers do; no warm-up of the decay. */
export function createEma(
  parameters: FlatParameters,
  options: {
    /** Share of the old average that is kept at each update, in [0, 1). @default 0.9999 */
    readonly decay?: number;
  } = {},
): Ema {
  const { decay = 0.9999 } = options;
  check(
    decay >= 0 && decay < 1,
    () => `ema decay: expected a number in [0, 1), got ${decay}. 0.9999 suits long trainings`,
  );
  const average = zerosLike(parameters);
  average.flat.set(parameters.flat);
  return {
    parameters: average,
    decay,
    update({ flat: source }) {
      const { flat } = average;
      check(
        source.length === flat.length,
        () => `ema: expected ${flat.length} elements, got ${source.length}`,
      );
      runLoop("average", [flat, source], { constants: [1 - decay] });
    },
  };
}
