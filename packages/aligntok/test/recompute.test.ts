import { createRandom } from "@aligntok/core";
import { type ViTConfig, vitModels } from "@aligntok/encoders";
import { estimateMemory, spec, specOf } from "@aligntok/jit";
import { expect, it } from "vitest";
import {
  createStageStep,
  initDiscriminator,
  type StageInputs,
  tokenizerShapes,
  trainableParts,
} from "../src/index.ts";

// The paper's depths at small widths.
const encoder: ViTConfig = {
  ...vitModels.dinov2_vitl14,
  ...{ imageSize: 56, classes: 0, width: 64, heads: 4 },
};
const decoder = { latent: 8, channels: 32, multipliers: [1, 1, 2, 2, 4], blocks: 2 };
const weights = Object.fromEntries(
  Object.entries(tokenizerShapes({ encoder, decoder })).map(([name, shape]) => [name, spec(shape)]),
);
const judge = { channels: 8 };
const partsOf = (parts: readonly string[]) =>
  Object.fromEntries(
    Object.entries(weights).filter(([name]) => parts.some((part) => name.startsWith(part))),
  );

it("leaves a third of the values that are alive at once in a step", () => {
  const inputs = {
    trainable: partsOf(trainableParts("perceptual", decoder)),
    snapshot: partsOf(["encoder", "adapter"]),
    discriminator: specOf(initDiscriminator(judge, createRandom(0, "judge"))),
    images: spec([1, 3, 64, 64]),
  };
  const bytes = (recompute: boolean) => {
    const step = createStageStep({
      ...{ stage: "perceptual", tokenizer: { encoder, decoder } },
      ...{ discriminator: judge, recompute },
    });
    return estimateMemory((given) => step(given as StageInputs), inputs).intermediate;
  };
  expect(bytes(true)).toBeLessThan(0.35 * bytes(false));
});
