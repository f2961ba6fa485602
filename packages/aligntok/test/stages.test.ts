import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { createStageStep, type StageConfig, stages, trainableParts } from "../src/index.ts";
import {
  convolutionPerceptual,
  discriminator,
  expectAllNear,
  expectNear,
  parts,
  readGolden,
  tokenizer,
  toTensor,
  toTensors,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const judge = await readGolden("discriminator");
const forward = await readGolden("forward");
const images = toTensor(weights.images!);
const perceptual = convolutionPerceptual(weights["perceptual.weight"]!);
const snapshot = toTensors(under(weights, "snapshot."));
const full: Omit<StageConfig, "stage"> = {
  tokenizer,
  perceptual,
  discriminator,
  perceptualWeight: 0.7,
  semanticWeight: 3,
};

/** Everything a stage may take, the trainable part split off. */
function inputsFor(stage: (typeof stages)[number]) {
  const frozen = ["encoder", "adapter"].filter((part) => !trainableParts[stage].includes(part));
  return {
    trainable: toTensors(parts(weights, trainableParts[stage])),
    frozen: toTensors(parts(weights, frozen)),
    snapshot,
    discriminator: toTensors(judge),
    perceptual: toTensors(perceptual.parameters),
    images,
  };
}

describe("stage steps", () => {
  it.each(stages)("%s equals PyTorch: losses, gradients, batch statistics", async (stage) => {
    const golden = await readGolden(`stage-${stage}`);
    const outputs = createStageStep({ ...full, stage })(inputsFor(stage));
    expectAllNear({ ...outputs.losses } as Record<string, tf.Tensor>, under(golden, "losses."));
    expectAllNear(outputs.gradients, under(golden, "gradients."));
    expectAllNear(outputs.discriminatorGradients!, under(golden, "discriminatorGradients."));
    expectAllNear(outputs.discriminatorStatistics!, under(golden, "discriminatorStatistics."));
  });

  it("perceptual takes the cosine distance instead", async () => {
    const golden = await readGolden("stage-perceptual-cosine");
    const config = { ...full, stage: "perceptual", semanticDistance: "cosine" } as const;
    const outputs = createStageStep(config)(inputsFor("perceptual"));
    expectNear(outputs.losses.semantic!, golden["losses.semantic"]!);
    const name = "adapter.fc2.weight";
    expectNear(outputs.gradients[name]!, golden[`gradients.${name}`]!);
  });

  it.each([
    ["latent", "features", "features"],
    ["refine", "latents", "latents"],
  ] as const)("%s from precomputed %s gives the same gradients", (stage, input, key) => {
    const { frozen: _, ...inputs } = inputsFor(stage);
    const step = createStageStep({ ...full, stage });
    const direct = step(inputsFor(stage));
    const cached = step({ ...inputs, [input]: toTensor(forward[key]!) });
    for (const [name, gradient] of Object.entries(direct.gradients)) {
      const difference = tf.max(tf.abs(tf.sub(gradient, cached.gradients[name]!))).dataSync()[0]!;
      expect(difference, name).toBeLessThan(1e-4);
    }
  });

  it("without a discriminator minimises the plain sum", () => {
    const { discriminator: _, ...plain } = full;
    const { discriminator: __, ...inputs } = inputsFor("perceptual");
    const { losses, discriminatorGradients } = createStageStep({ ...plain, stage: "perceptual" })(
      inputs,
    );
    const value = (x: tf.Tensor) => x.dataSync()[0]!;
    expect(value(losses.total)).toBeCloseTo(
      value(losses.absolute) + 0.7 * value(losses.perceptual!) + 3 * value(losses.semantic!),
      5,
    );
    expect(losses.generator).toBeUndefined();
    expect(discriminatorGradients).toBeUndefined();
  });

  it("says which inputs are missing", () => {
    const { trainable, images } = inputsFor("refine");
    expect(() => createStageStep({ tokenizer, stage: "refine" })({ trainable, images })).toThrow(
      /stage refine: expected the inputs latents or frozen/,
    );
  });
});
