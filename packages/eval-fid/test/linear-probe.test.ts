import { ndarray } from "@aligntok/core";
import { computeAccuracy, fitLinearProbe } from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/probe.json" with { type: "json" };
import { generateProblem, relativeError } from "./generated.ts";

describe("linear probe", () => {
  it.each(golden)(
    "reaches scipy's optimum for $n samples, $classes classes, l2 $l2",
    (expected) => {
      const { seed, n, d, classes, l2 } = expected;
      const { features, labels } = generateProblem(seed, n, d, classes);
      const probe = fitLinearProbe(features, labels, { classes, l2 });
      expect(probe.converged).toBe(true);
      expect(Math.abs(probe.loss - expected.loss)).toBeLessThan(1e-10);
      if (expected.weight) {
        expect(relativeError(probe.weight.data, expected.weight)).toBeLessThan(1e-4);
      }
      const predicted = probe.predict(features);
      expect([...predicted]).toEqual(expected.predicted);
      expect(computeAccuracy(predicted, labels)).toBe(expected.accuracy);
    },
  );

  it("standardises by the training set, whatever its units, and survives constant columns", () => {
    const { features, labels } = generateProblem(9, 60, 5, 3);
    const wide = new Float32Array(60 * 6);
    for (let n = 0; n < 60; n++) {
      for (let i = 0; i < 5; i++) wide[n * 6 + i] = features.data[n * 5 + i]! * 1024 - 4096;
      wide[n * 6 + 5] = 0.1;
    }
    const plain = fitLinearProbe(features, labels, { classes: 3 });
    const scaled = fitLinearProbe(ndarray(wide, [60, 6]), labels, { classes: 3 });
    expect(Math.abs(plain.loss - scaled.loss)).toBeLessThan(1e-6);
    expect(scaled.scale.data[5]).toBe(0);
    wide[5] = 1e6; // a value never seen in training does not reach the logits
    expect(scaled.predict(ndarray(wide, [60, 6]))).toEqual(plain.predict(features));
  });

  it("gives the same bits each time and says when it was cut short", () => {
    const { features, labels } = generateProblem(9, 60, 5, 3);
    const first = fitLinearProbe(features, labels, { classes: 3 });
    const second = fitLinearProbe(features, labels, { classes: 3 });
    expect(second.weight.data).toEqual(first.weight.data);
    const short = fitLinearProbe(features, labels, { classes: 3, iterations: 2 });
    expect(short).toMatchObject({ iterations: 2, converged: false });
    expect(short.loss).toBeGreaterThan(first.loss);
    expect(short.loss).toBeLessThan(Math.log(3));
  });

  it("stays finite on separable classes without a penalty", () => {
    const features = ndarray(Float32Array.of(-2, -1, 1, 2), [4, 1]);
    const labels = Int32Array.of(0, 0, 1, 1);
    const probe = fitLinearProbe(features, labels, { classes: 2, l2: 0 });
    expect(probe.loss).toBeLessThan(1e-5);
    expect(probe.predict(features)).toEqual(labels);
  });

  it("refuses inputs that do not fit", () => {
    const { features, labels } = generateProblem(9, 6, 5, 3);
    expect(() => fitLinearProbe(features, labels.subarray(1), { classes: 3 })).toThrow(
      "a label for each of 6 features, got 5",
    );
    expect(() => fitLinearProbe(features, labels.with(4, 3), { classes: 3 })).toThrow(
      "labels of 0 to 2, got 3 at 4",
    );
    expect(() => fitLinearProbe(features, labels, { classes: 1 })).toThrow("at least 2 classes");
    expect(() => fitLinearProbe(features, labels, { classes: 3, l2: -1 })).toThrow("got -1");
    const nan = ndarray(features.data.with(7, Number.NaN), [6, 5]);
    expect(() => fitLinearProbe(nan, labels, { classes: 3 })).toThrow("got NaN in row 1");
    const probe = fitLinearProbe(features, labels, { classes: 3 });
    expect(() => probe.predict(ndarray(new Float32Array(4), [1, 4]))).toThrow(
      "[N,5], got float32 [1,4]",
    );
    expect(() => computeAccuracy(labels, labels.subarray(1))).toThrow("got 6 and 5");
  });
});
