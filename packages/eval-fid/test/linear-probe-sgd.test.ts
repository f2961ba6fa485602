import { ndarray, rows } from "@aligntok/core";
import {
  computeAccuracy,
  computeTopAccuracy,
  fitLinearProbe,
  trainLinearProbes,
} from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import { trainInOrder } from "../src/linear-probe-sgd.ts";
import golden from "./fixtures/probe-sgd.json" with { type: "json" };
import { generateOrders, generateProblem, relativeError } from "./generated.ts";

describe("linear probe by SGD", () => {
  it.each(golden)(
    "equals PyTorch on the same batches of $batch of $n samples, momentum $momentum",
    async (expected) => {
      const { seed, n, d, classes, epochs, batch: batchSize, momentum, probes } = expected;
      const { features, labels } = generateProblem(seed, n, d, classes);
      const orders = generateOrders(seed, n, epochs);
      const trained = await trainInOrder(features, labels, {
        ...{ classes, epochs, batchSize, momentum },
        rates: probes.map(({ rate }) => rate),
        order: (epoch) => orders[epoch]!,
      });
      for (const [i, probe] of trained.entries()) {
        const theirs = probes[i]!;
        expect(probe.rate).toBe(theirs.rate);
        expect(Math.abs(probe.loss - theirs.loss)).toBeLessThan(1e-4 * theirs.loss);
        expect(relativeError(probe.weight.data, theirs.weight)).toBeLessThan(1e-4);
        expect(relativeError(probe.bias.data, theirs.bias)).toBeLessThan(1e-4);
        expect(relativeError(probe.mean.data, theirs.mean)).toBeLessThan(1e-5);
        const variance = probe.scale.data.map((scale) => scale ** -2 - 1e-6);
        expect(relativeError(variance, theirs.variance)).toBeLessThan(1e-5);
        const scores = probe.scores(features);
        expect(relativeError(rows(scores, 0, 8).data, theirs.scores)).toBeLessThan(1e-4);
        expect(computeTopAccuracy(scores, labels, { k: 1 })).toBeCloseTo(theirs.top1, 6);
        expect(computeTopAccuracy(scores, labels, { k: 2 })).toBeCloseTo(theirs.top2, 6);
        expect(computeAccuracy(probe.predict(features), labels)).toBeCloseTo(theirs.top1, 6);
      }
    },
  );

  it("reaches the optimum that L-BFGS finds, and is a function of the seed", async () => {
    const { features, labels } = generateProblem(9, 300, 6, 3);
    const optimum = fitLinearProbe(features, labels, { classes: 3, l2: 0 });
    const whole = { classes: 3, rates: [10], epochs: 800, batchSize: 300 };
    const [slow] = await trainLinearProbes(features, labels, whole);
    expect(Math.abs(slow!.loss - optimum.loss)).toBeLessThan(1e-6);
    const options = { classes: 3, rates: [1], epochs: 5, batchSize: 100 };
    const [probe] = await trainLinearProbes(features, labels, options);
    const [again] = await trainLinearProbes(features, labels, options);
    expect(again!.weight.data).toEqual(probe!.weight.data);
    const [other] = await trainLinearProbes(features, labels, { ...options, seed: 1 });
    expect(other!.weight.data).not.toEqual(probe!.weight.data);
  });

  it("reports progress, stops by its signal and refuses options without a meaning", async () => {
    const { features, labels } = generateProblem(9, 40, 5, 3);
    const controller = new AbortController();
    const seen: number[] = [];
    const run = trainLinearProbes(features, labels, {
      ...{ classes: 3, epochs: 5, batchSize: 8, signal: controller.signal },
      onProgress: ({ done }) => {
        seen.push(done);
        if (done === 2) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ code: "aborted" });
    expect(seen).toEqual([1, 2]);
    const train = (options: object) =>
      trainLinearProbes(features, labels, { classes: 3, ...options });
    await expect(train({ rates: [] })).rejects.toThrow("learning rates above 0");
    await expect(train({ rates: [0.1, -1] })).rejects.toThrow("got [0.1,-1]");
    await expect(train({ epochs: 0 })).rejects.toThrow("epochs of at least 1");
    await expect(train({ momentum: 1 })).rejects.toThrow("got 1");
    await expect(train({ batchSize: 1 })).rejects.toThrow("batches of 2 or more");
    await expect(train({ classes: 2 })).rejects.toThrow("labels of 0 to 1");
  });
});

describe("top accuracy", () => {
  const scores = ndarray(Float64Array.of(3, 2, 1, 0, 1, 1, 1, 1), [2, 4], "float64");

  it("counts labels among the k highest, the lower class first where scores are equal", () => {
    const at = (labels: number[], k: number) =>
      computeTopAccuracy(scores, Int32Array.from(labels), { k });
    expect(at([1, 0], 1)).toBe(0.5);
    expect(at([1, 1], 2)).toBe(1);
    expect(at([3, 2], 2)).toBe(0);
    expect(at([3, 3], 4)).toBe(1);
  });

  it("refuses shapes and k that do not fit", () => {
    expect(() => computeTopAccuracy(scores, Int32Array.of(0), { k: 1 })).toThrow("scores [1,C]");
    expect(() => computeTopAccuracy(scores, Int32Array.of(0, 1), { k: 5 })).toThrow(
      "the 4 classes",
    );
    expect(() => computeTopAccuracy(scores, Int32Array.of(0, 4), { k: 1 })).toThrow("got 4 at 1");
  });
});
