/** One update of AdamW as operations of a graph, for a training step whose whole state stays with the engine. */
import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { AdamWOptions } from "./adam.ts";
import { checkPrefixes, hasPrefix } from "./parameters.ts";

type Tensors = Readonly<Record<string, Tensor>>;

/** What an update changes: records by parameter name, each with the parameters' names and shapes. */
export interface AdamWState {
  readonly parameters: Tensors;
  /** Means of the gradients and of their squares, zeros at first. */
  readonly first: Tensors;
  readonly second: Tensors;
  /** A moving average of the parameters. */
  readonly ema?: Tensors;
  /** Updates done so far, a scalar. */
  readonly step: Tensor;
}

export interface AdamWUpdateOptions extends Omit<AdamWOptions, "ema"> {
  /** Share of the old average that is kept, where the state has one. @default 0.9999 */
  readonly emaDecay?: number;
}

/**
 * The state after one update with the formulas of torch.optim.AdamW, in any engine's float32. It agrees with
 * `createAdamW` to rounding, and reads and writes the arrays several times where that does once: for
 * `compileStateful` of `@aligntok/jit` on engines that keep the state on a device.
 *
 * @param state with `gradients` under the parameters' names, and the learning rate `lr`, a scalar
 * @throws AlignTokError `bad-input` where names differ, `not-found` where a group holds no parameter
 */
export function adamWUpdate(
  state: AdamWState & { readonly gradients: Tensors; readonly lr: Tensor },
  options: AdamWUpdateOptions = {},
): AdamWState {
  const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, groups = [] } = options;
  const { emaDecay = 0.9999 } = options;
  const [beta1, beta2] = betas;
  const names = Object.keys(state.parameters);
  for (const key of ["gradients", "first", "second", "ema"] as const) {
    const missing = state[key] && names.find((name) => !state[key]?.[name]);
    check(missing === undefined, () => `${key}: expected all parameters, got none for ${missing}`);
  }
  const prefixes = groups.map(({ prefix }) => prefix);
  checkPrefixes(names, prefixes);

  const step = tf.add(state.step, tf.scalar(1, state.step.dtype as "float32"));
  const count = tf.cast(step, "float32");
  const rootCorrection = tf.sqrt(biasCorrection(beta2, count));
  const size = tf.mul(tf.div(state.lr, biasCorrection(beta1, count)), rootCorrection);
  const shiftedEps = tf.mul(rootCorrection, eps);
  const [parameters, first, second, ema] = [{}, {}, {}, {}] as Record<string, Tensor>[];
  for (const name of names) {
    const group = groups.find(({ prefix }) => hasPrefix(name, prefix));
    const scale = group?.lrScale ?? 1;
    const decay = tf.mul(state.lr, scale * (group?.weightDecay ?? weightDecay));
    const gradient = state.gradients[name]!;
    const before = state.parameters[name]!;
    const m = mix(state.first[name]!, gradient, beta1);
    const v = mix(state.second[name]!, tf.square(gradient), beta2);
    const move = tf.mul(tf.div(m, tf.add(tf.sqrt(v), shiftedEps)), tf.mul(size, scale));
    const after = tf.sub(before, tf.add(tf.mul(before, decay), move));
    first![name] = m;
    second![name] = v;
    parameters![name] = after;
    const average = state.ema?.[name];
    if (average) ema![name] = tf.add(average, tf.mul(tf.sub(after, average), 1 - emaDecay));
  }
  return {
    parameters: parameters!,
    first: first!,
    second: second!,
    ...(state.ema && { ema: ema! }),
    step,
  };
}

function mix(old: Tensor, fresh: Tensor, kept: number): Tensor {
  return tf.add(tf.mul(old, kept), tf.mul(fresh, 1 - kept));
}

/** 1 - beta^count. The difference itself would lose half the digits of float32. */
function biasCorrection(beta: number, count: Tensor): Tensor {
  return beta === 0 ? tf.onesLike(count) : tf.neg(tf.expm1(tf.mul(count, Math.log(beta))));
}
