import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  applyAdapter,
  applyEncoder,
  createStageStep,
  type StageConfig,
  type StageOutputs,
  stages,
  trainableParts,
} from "../src/index.ts";
import {
  convolutionPerceptual,
  decoder,
  discriminator,
  encoder,
  expectAllNear,
  parts,
  readGolden,
  tokenizer,
  toTensor,
  toTensors,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const judge = await readGolden("discriminator");
const variants = await readGolden("stage-variants");
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
  const frozen = ["encoder", "adapter"].filter(
    (part) => !trainableParts(stage, decoder).includes(part),
  );
  return {
    trainable: toTensors(parts(weights, trainableParts(stage, decoder))),
    frozen: toTensors(parts(weights, frozen)),
    snapshot,
    discriminator: toTensors(judge),
    perceptual: toTensors(perceptual.parameters),
    images,
  };
}

/** The losses and gradients that the fixture has of a variant. */
function expectVariant(name: string, outputs: StageOutputs): void {
  expectAllNear(
    { ...outputs.losses } as Record<string, tf.Tensor>,
    under(variants, `${name}.losses.`),
  );
  for (const part of ["gradients", "discriminatorGradients"] as const) {
    const expected = under(variants, `${name}.${part}.`);
    const shown = Object.keys(expected).map((key) => [key, outputs[part]![key]!]);
    expectAllNear(Object.fromEntries(shown), expected);
  }
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

  it.each([
    ["cosine", { semanticDistance: "cosine" }],
    ["features", { semanticTarget: "features" }],
    ["features-cosine", { semanticTarget: "features", semanticDistance: "cosine" }],
    ["non-saturating", { adversarialLoss: "non-saturating" }],
  ] as const)("perceptual, %s: equals PyTorch", (name, options) => {
    const outputs = createStageStep({ ...full, ...options, stage: "perceptual" })(
      inputsFor("perceptual"),
    );
    expectVariant(name, outputs);
  });

  it("perceptual with low-rank factors in place of the encoder's weights equals PyTorch", () => {
    const factors = Object.fromEntries(
      Object.entries(under(variants, "lora.")).filter(([key]) => key.startsWith("encoder.")),
    );
    const { trainable, ...inputs } = inputsFor("perceptual");
    const [own, rest] = [true, false].map((encoder) =>
      Object.fromEntries(
        Object.entries(trainable).filter(([key]) => key.startsWith("encoder.") === encoder),
      ),
    );
    const config = { ...full, stage: "perceptual", lora: { rank: 2, alpha: 3 } } as const;
    const outputs = createStageStep(config)({
      ...inputs,
      frozen: own!,
      trainable: { ...toTensors(factors), ...rest },
    });
    expect(Object.keys(under(variants, "lora.gradients."))).toEqual(
      expect.arrayContaining(Object.keys(factors)),
    );
    expect(outputs.gradients).not.toHaveProperty(["encoder.blocks.0.attn.qkv.weight"]);
    expectVariant("lora", outputs);
  });

  it("perceptual with a variational adapter samples, and equals PyTorch", () => {
    const { noise, ...own } = under(variants, "kl.");
    const adapter = Object.fromEntries(
      Object.entries(own).filter(([key]) => key.startsWith("adapter.")),
    );
    const inputs = inputsFor("perceptual");
    const config = {
      ...full,
      stage: "perceptual",
      tokenizer: { ...tokenizer, adapter: { variational: true } },
      klWeight: 40,
    } as const;
    const latents = applyAdapter(
      { width: 8, latent: 4 },
      snapshot,
      applyEncoder(encoder, snapshot, images, { stride: 4 }),
    ); // the snapshot of the fixture has an ordinary adapter
    const outputs = createStageStep(config)({
      ...inputs,
      trainable: { ...inputs.trainable, ...toTensors(adapter) },
      latents,
      noise: toTensor(noise!),
    });
    expectVariant("kl", outputs);
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

  it("without semantic weight needs no snapshot", () => {
    const { snapshot: _, ...inputs } = inputsFor("perceptual");
    const config = { ...full, stage: "perceptual", semanticWeight: 0 } as const;
    expect(createStageStep(config)(inputs).losses.semantic).toBeUndefined();
    expect(() => createStageStep({ ...config, semanticWeight: 1 })(inputs)).toThrow(
      /stage perceptual: expected the inputs latents or snapshot/,
    );
  });

  it("says which inputs are missing", () => {
    const { trainable, images } = inputsFor("refine");
    expect(() => createStageStep({ tokenizer, stage: "refine" })({ trainable, images })).toThrow(
      /stage refine: expected the inputs latents or frozen/,
    );
  });
});
