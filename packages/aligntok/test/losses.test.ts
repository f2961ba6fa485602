import { valueAndGrad } from "@aligntok/jit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  absoluteLoss,
  adaptiveWeight,
  generatorLoss,
  hingeLoss,
  logisticLoss,
  semanticLoss,
} from "../src/index.ts";
import { klLoss } from "../src/vae/index.ts";
import { expectNear, readGolden, toTensor, under } from "./golden.ts";

const golden = await readGolden("losses");

type Loss = (x: tf.Tensor, y: tf.Tensor) => tf.Tensor;
const losses: Record<string, Loss> = {
  absolute: absoluteLoss,
  hinge: hingeLoss,
  logistic: logisticLoss,
  generator: (x) => generatorLoss(x),
  generatorLogistic: (x) => generatorLoss(x, { kind: "non-saturating" }),
  l2: (x, y) => semanticLoss(x, y),
  cosine: (x, y) => semanticLoss(x, y, { distance: "cosine" }),
  kl: (mean, logVariance) => klLoss({ mean, logVariance }, 1),
};

describe("losses against PyTorch", () => {
  it.each(Object.entries(losses))("%s, value and gradients", (name, loss) => {
    const { value, x0, x1, g0, g1 } = under(golden, `${name}.`);
    const inputs = [x0!, ...(x1 ? [x1] : [])].map(toTensor);
    const result = valueAndGrad((arrays: tf.Tensor[]) => loss(arrays[0]!, arrays[1]!), inputs);
    expectNear(result.value, value!, 1e-5);
    expectNear(result.gradients[0]!, g0!, 1e-5);
    if (g1) expectNear(result.gradients[1]!, g1, 1e-5);
  });
});

describe("adaptiveWeight", () => {
  const of = (reconstruction: number[], other: number[], limit?: number) =>
    adaptiveWeight(
      tf.tensor(reconstruction),
      tf.tensor(other),
      limit ? { limit } : {},
    ).dataSync()[0]!;

  it("is the ratio of lengths, with 1e-4 in the denominator", () => {
    expect(of([3, 4], [0, 2])).toBeCloseTo(5 / 2.0001, 5);
    expect(of([3e-4, 4e-4], [0, 0])).toBeCloseTo(5, 4);
  });

  it("is at most 1e4, or the limit given", () => {
    expect(of([3, 4], [0, 0])).toBe(1e4);
    expect(of([3, 4], [0, 0], 1e8)).toBeCloseTo(5e4, 0);
  });
});
