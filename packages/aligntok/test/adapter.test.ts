import { createRandom } from "@aligntok/core";
import { valueAndGrad } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  type AdapterConfig,
  type AdapterForm,
  adapterShapes,
  applyAdapter,
  applyVariationalAdapter,
  initAdapter,
} from "../src/index.ts";
import { expectAllNear, expectNear, readGolden, toTensor, toTensors, under } from "./golden.ts";

const golden = await readGolden("adapters");
const widths = { width: 8, latent: 4 };

const forms: Record<string, AdapterForm> = {
  mlp: { hidden: 6 },
  linear: { kind: "linear" },
  normalized: { normalized: true },
  "linear-normalized": { kind: "linear", normalized: true },
};

describe.each(Object.entries(forms))("adapter %s", (name, form) => {
  const config: AdapterConfig = { ...form, ...widths };
  const expected = under(golden, `${name}.`);
  const weights = under(expected, "weights.");

  it("equals PyTorch in value and gradient", () => {
    const pull = toTensor(expected.pull!);
    const { gradients } = valueAndGrad(
      ({ tokens, ...params }: Record<string, tf.Tensor>) =>
        tf.sum(tf.mul(applyAdapter(config, params, tokens!), pull)),
      { ...toTensors(weights), tokens: toTensor(expected.tokens!) },
    );
    expectAllNear(gradients, under(expected, "gradients."));
    const outputs = applyAdapter(config, toTensors(weights), toTensor(expected.tokens!));
    expectNear(outputs, expected.outputs!);
  });

  it("starts with the same keys and shapes", () => {
    const shapesOf = (params: Readonly<Record<string, { shape: readonly number[] }>>) =>
      Object.fromEntries(Object.entries(params).map(([key, { shape }]) => [key, [...shape]]));
    const made = initAdapter(config, createRandom(0, "adapter"));
    expect(shapesOf(made)).toEqual(shapesOf(weights));
    expect(shapesOf(made)).toEqual(adapterShapes(config));
  });
});

describe("a variational adapter", () => {
  const config: AdapterConfig = { ...widths, variational: true };
  const params: TensorParameters = toTensors(initAdapter(config, createRandom(0, "adapter")));
  const tokens = tf.randomNormal([2, 5, 8], 0, 1, "float32", 0);

  it("gives its means as latents, and log variances beside them", () => {
    const { mean, logVariance } = applyVariationalAdapter(config, params, tokens);
    expect(mean.shape).toEqual([2, 5, 4]);
    expect(applyAdapter(config, params, tokens).dataSync()).toEqual(mean.dataSync());
    const rest = {
      ...params,
      "adapter.fc2.bias": tf.concat([tf.zeros([4]), tf.fill([4], 100)]),
    };
    const clipped = applyVariationalAdapter(config, rest, tokens).logVariance;
    expect(tf.max(clipped).dataSync()[0]).toBe(20);
    expect(tf.max(logVariance).dataSync()[0]).toBeLessThan(5);
  });

  it("is asked for by name", () => {
    expect(() => applyVariationalAdapter(widths, params, tokens)).toThrow(
      /adapter: expected a variational one/,
    );
  });
});
