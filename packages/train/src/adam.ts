/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101) and Adam (Kingma and Ba, arXiv 1412.6980) with the
 * formulas of torch.optim, as one loop over flat arrays: parameters, moments and the optional moving
 * average pass through the processor once a step, in float32 as there.
 */
import { AlignTokError, check, type NdArray, ndarray } from "@aligntok/core";
import type { Ema } from "./ema.ts";
import { runLoop } from "./flat-memory.ts";
import { checkPrefixes, type FlatParameters, hasPrefix, zerosLike } from "./parameters.ts";

export interface AdamGroup {
  /** Whole dotted parts of a name: `decoder`, `blocks.1`. The first group that holds a parameter applies. */
  readonly prefix: string;
  /** Factor on the learning rate. @default 1 */
  readonly lrScale?: number;
  /** Weight decay of this group; 0 excludes it. @default the optimizer's weightDecay */
  readonly weightDecay?: number;
}

export interface AdamOptions {
  /** Decay of the first and second moments. @default [0.9, 0.999] */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. @default 1e-8 */
  readonly eps?: number;
  /** Settings by name prefix. @default none */
  readonly groups?: readonly AdamGroup[];
  /** A moving average of these parameters to update in the same loop. @default none */
  readonly ema?: Ema;
}

export interface AdamWOptions extends AdamOptions {
  /** Decoupled weight decay. @default 0.01 */
  readonly weightDecay?: number;
}

export interface Optimizer {
  /** Updates done so far, those before a restore included. */
  readonly steps: number;
  /**
   * One update of the parameters in place. `gradients` has the layout of the parameters
   * (`zerosLike(parameters).flat`); it is multiplied by `scale` on the way, see `computeClipScale`.
   */
  update(
    gradients: Float32Array,
    options: {
      /** Learning rate, before the groups' factors. */
      readonly lr: number;
      /** @default 1 */
      readonly scale?: number;
    },
  ): void;
  /** The state for a checkpoint: `NAME.exp_avg` and `NAME.exp_avg_sq` in the shape of NAME, and `step`. Live views. */
  state(): Readonly<Record<string, NdArray>>;
  /** Copies a saved state in. @throws AlignTokError `bad-input` where names or shapes differ. */
  restore(state: Readonly<Record<string, NdArray>>): void;
}

/** AdamW on flat parameters, equal to torch.optim.AdamW. */
export function createAdamW(parameters: FlatParameters, options: AdamWOptions = {}): Optimizer {
  const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, groups = [], ema } = options;
  const [beta1, beta2] = betas;
  check(
    beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
    () => `betas: expected two numbers in [0, 1), got ${betas}`,
  );
  check(eps > 0, () => `eps: expected a positive number, got ${eps}`);
  check(
    !ema || ema.parameters.flat.length === parameters.flat.length,
    () =>
      `ema: expected ${parameters.flat.length} elements like the parameters, got ${ema?.parameters.flat.length}. create it from the same parameters`,
  );
  const ranges = computeRanges(parameters, groups, weightDecay);
  const first = zerosLike(parameters);
  const second = zerosLike(parameters);
  let steps = 0;

  function update(
    gradients: Float32Array,
    { lr, scale = 1 }: { readonly lr: number; readonly scale?: number },
  ): void {
    check(
      gradients.length === parameters.flat.length,
      () => `gradients: expected ${parameters.flat.length} elements, got ${gradients.length}`,
    );
    steps++;
    const arrays = [parameters.flat, gradients, first.flat, second.flat];
    if (ema) arrays.push(ema.parameters.flat);
    const rootCorrection = Math.sqrt(1 - beta2 ** steps);
    const firstCorrection = 1 - beta1 ** steps;
    for (const { start, end, lrScale, weightDecay } of ranges) {
      const rate = lr * lrScale;
      // lr / c1 * m / (sqrt(v) / sqrt(c2) + eps), with sqrt(c2) moved into the constants
      const size = (rate / firstCorrection) * rootCorrection;
      const moments = [beta1, 1 - beta1, beta2, 1 - beta2];
      const constants = [scale, ...moments, size, eps * rootCorrection, rate * weightDecay];
      if (ema) constants.push(1 - ema.decay);
      runLoop(ema ? "adamWWithAverage" : "adamW", arrays, { constants, start, end });
    }
  }

  function state(): Record<string, NdArray> {
    const tensors: Record<string, NdArray> = { step: ndarray(Int32Array.of(steps), [], "int32") };
    for (const name of parameters.names) {
      tensors[`${name}.exp_avg`] = first.views[name]!;
      tensors[`${name}.exp_avg_sq`] = second.views[name]!;
    }
    return tensors;
  }

  function restore(saved: Readonly<Record<string, NdArray>>): void {
    const own = state();
    for (const [name, { dtype, shape }] of Object.entries(own)) {
      const found = saved[name];
      if (found?.dtype !== dtype || found.shape.join() !== shape.join()) {
        const got = found ? `${found.dtype} [${found.shape}]` : "none";
        throw new AlignTokError(
          "bad-input",
          `optimizer state ${name}: expected ${dtype} [${shape}], got ${got}. the checkpoint belongs to another model or trainable part`,
        );
      }
    }
    for (const name of parameters.names) {
      first.views[name]!.data.set(saved[`${name}.exp_avg`]!.data as Float32Array);
      second.views[name]!.data.set(saved[`${name}.exp_avg_sq`]!.data as Float32Array);
    }
    steps = Number(saved.step!.data[0]);
  }

  return {
    get steps() {
      return steps;
    },
    update,
    state,
    restore,
  };
}

/** Adam on flat parameters, equal to torch.optim.Adam without weight decay. */
export function createAdam(parameters: FlatParameters, options: AdamOptions = {}): Optimizer {
  return createAdamW(parameters, { ...options, weightDecay: 0 });
}

interface Range {
  start: number;
  end: number;
  lrScale: number;
  weightDecay: number;
}

/** Groups as ranges of the flat array; neighbours with equal settings become one. */
function computeRanges(
  { names, offsets }: FlatParameters,
  groups: readonly AdamGroup[],
  defaultDecay: number,
): readonly Range[] {
  checkPrefixes(
    names,
    groups.map(({ prefix }) => prefix),
  );
  const ranges: Range[] = [];
  names.forEach((name, i) => {
    const group = groups.find(({ prefix }) => hasPrefix(name, prefix));
    const lrScale = group?.lrScale ?? 1;
    const weightDecay = group?.weightDecay ?? defaultDecay;
    const start = offsets[i]!;
    const end = offsets[i + 1]!;
    const last = ranges.at(-1);
    if (last?.lrScale === lrScale && last.weightDecay === weightDecay) last.end = end;
    else ranges.push({ start, end, lrScale, weightDecay });
  });
  return ranges;
}
