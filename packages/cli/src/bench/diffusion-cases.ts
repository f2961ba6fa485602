/** LightningDiT-B/1 on latents of 16x16x32, the paper's: a training step and a step of guided sampling. */

import { ndarray } from "@aligntok/core";
import {
  applyLightningDit,
  createDenoiser,
  flowMatchingLoss,
  integrateEuler,
  isFixedParameter,
  lightningDitDefaults,
  lightningDitShapes,
  lightningDitSizes,
} from "@aligntok/diffusion";
import { createAdamW, createEma } from "@aligntok/train";
import type { BenchCase } from "./case.ts";
import { prepareTraining } from "./model-run.ts";
import { countElements, createWeights, normals } from "./weights.ts";

const config = { ...lightningDitDefaults, ...lightningDitSizes["B/1"] };
const batch = 4;
const latentShape = [config.inputSize, config.inputSize, config.inChannels] as const;
const labels = Int32Array.of(1, 207, 360, 1000);

export const diffusionCases: readonly BenchCase[] = [
  {
    name: "lightningdit-b1-train",
    what: "LightningDiT-B/1, 4 latents of 16x16x32: step with AdamW and moving average",
    family: "train",
    bar: 1.4,
    gflop: 556.98,
    async prepare(engine) {
      const all = Object.entries(createWeights(lightningDitShapes(config)));
      const part = (fixed: boolean) =>
        Object.fromEntries(all.filter(([name]) => isFixedParameter(name) === fixed));
      const planes = [batch, config.inChannels, config.inputSize, config.inputSize];
      return prepareTraining(
        {
          params: part(false),
          inputs: {
            ...part(true),
            latents: normals(planes),
            noise: normals(planes),
            times: ndarray(Float32Array.of(0.1, 0.4, 0.6, 0.9), [batch]),
            labels: ndarray(labels, [batch], "int32"),
          },
          loss: (params, { latents, noise, times, labels, ...fixed }) =>
            flowMatchingLoss(
              (x, t) => applyLightningDit(config, { ...params, ...fixed }, x, t, labels!),
              { latents: latents!, noise: noise!, times: times! },
            ).loss,
          optimizer: (weights) =>
            createAdamW(weights, {
              betas: [0.9, 0.95],
              weightDecay: 0,
              ema: createEma(weights),
            }),
          lr: 1e-5,
        },
        engine,
      );
    },
  },
  {
    name: "lightningdit-b1-sample",
    what: "LightningDiT-B/1, 4 latents of 16x16x32: a guided Euler step",
    family: "train",
    gflop: 368.13,
    async prepare(engine) {
      const params = createWeights(lightningDitShapes(config));
      const denoiser = createDenoiser(config, params, engine);
      const noise = normals([batch, ...latentShape]);
      const trained = Object.entries(params).filter(([name]) => !isFixedParameter(name));
      return {
        parameters: countElements(Object.fromEntries(trained)),
        run: () => integrateEuler(denoiser, noise, { labels, points: 2, cfgScale: 4 }),
      };
    },
  },
];
