import { check, type Denoiser, ndarray, type Parameters } from "@aligntok/core";
import { type EngineOptions, jit } from "@aligntok/jit";
import * as tf from "@tensorflow/tfjs-core";
import { checkParameters } from "./diffusion-model.ts";
import { applyLightningDit, type LightningDitConfig } from "./lightningdit.ts";

/** A denoiser that holds compiled graphs. */
export interface CompiledDenoiser extends Denoiser {
  /** Releases the compiled graphs; a later call compiles again. */
  dispose(): void;
}

/**
 * A LightningDiT as samplers take it: latents `(N, S, S, C)`, times `(N)`, labels `(N)`. Compiled at the first call of
 * each batch size and kept; the parameters are not copied.
 *
 * @throws AlignTokError `bad-input` for weights or inputs that do not belong to the configuration.
 */
export function createDenoiser(
  config: LightningDitConfig,
  params: Parameters,
  engine: EngineOptions = {},
): CompiledDenoiser {
  checkParameters(config, params, "createDenoiser");
  const { inputSize: side, inChannels: channels } = config;
  interface Inputs {
    readonly params: Readonly<Record<string, tf.Tensor>>;
    readonly latents: tf.Tensor;
    readonly times: tf.Tensor;
    readonly labels: tf.Tensor;
  }
  const graph = jit(
    ({ params, latents, times, labels }: Inputs) => {
      const x = tf.transpose(latents, [0, 3, 1, 2]); // (B,C,S,S)
      const velocity = applyLightningDit(config, params, x, times, labels);
      return tf.transpose(velocity, [0, 2, 3, 1]);
    },
    { ...engine, bind: { params } },
  );

  return {
    nullLabel: config.classes,
    async velocity(latents, times, labels) {
      const count = times.length;
      check(
        latents.shape.join() === [count, side, side, channels].join() && labels.length === count,
        () =>
          `denoiser: expected latents [${[count, side, side, channels]}] and ${count} labels, got [${latents.shape}] and ${labels.length}`,
      );
      return graph({
        latents,
        times: ndarray(times, [count]),
        labels: ndarray(labels, [count], "int32"),
      });
    },
    dispose: graph.dispose,
  };
}
