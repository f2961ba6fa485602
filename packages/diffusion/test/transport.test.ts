import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { beforeAll, describe, expect, it } from "vitest";
import { drawTransport, flowMatchingLoss } from "../src/transport.ts";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

const batch = { labels: new Int32Array(4000).fill(3), latentShape: [2], nullLabel: 7 };

describe("drawTransport", () => {
  const drawn = drawTransport(batch, { seed: 1, step: 5 });

  it("is a function of seed and step", () => {
    expect(drawTransport(batch, { seed: 1, step: 5 })).toEqual(drawn);
    const next = drawTransport(batch, { seed: 1, step: 6 });
    expect(next.noise.data).not.toEqual(drawn.noise.data);
    expect(next.times.data).not.toEqual(drawn.times.data);
    expect(next.labels.data).not.toEqual(drawn.labels.data);
  });

  it("draws logit-normal times, or uniform ones", () => {
    // P(t < sigmoid(-1)) = Phi(-1) = 0.1587 against sigmoid(-1) = 0.2689 for uniform times
    const share = (data: Float32Array) => data.filter((t) => t < 0.2689414).length / data.length;
    expect(share(drawn.times.data)).toBeCloseTo(0.1587, 1);
    const uniform = drawTransport(batch, { seed: 1, step: 5 }, { timeDistribution: "uniform" });
    expect(share(uniform.times.data)).toBeCloseTo(0.2689, 1);
    expect(Math.abs(share(drawn.times.data) - 0.1587)).toBeLessThan(0.02);
    expect(Math.abs(share(uniform.times.data) - 0.2689)).toBeLessThan(0.02);
  });

  it("drops a tenth of the labels to the null label", () => {
    const dropped = drawn.labels.data.filter((label) => label === 7).length;
    expect(Math.abs(dropped / 4000 - 0.1)).toBeLessThan(0.015);
    expect(drawn.labels.data.every((label) => label === 3 || label === 7)).toBe(true);
    const none = drawTransport(batch, { seed: 1, step: 5 }, { labelDropout: 0 });
    expect(none.labels.data.every((label) => label === 3)).toBe(true);
  });
});

describe("flowMatchingLoss", () => {
  const latents = tf.tensor4d([1, 2, 3, 4], [1, 2, 1, 2]);
  const noise = tf.tensor4d([0, 1, -1, 2], [1, 2, 1, 2]);
  const inputs = { latents, noise, times: tf.tensor1d([0.25]) };

  it("interpolates from noise at 0 to data at 1 and asks for the velocity", () => {
    let seen: number[] = [];
    const { loss, mse } = flowMatchingLoss((x) => {
      seen = [...x.dataSync()];
      return tf.zerosLike(x);
    }, inputs);
    expect(seen).toEqual([0.25, 1.25, 0, 2.5]);
    // velocity (1, 1, 4, 2): mean square 5.5
    expect(mse.dataSync()[0]).toBeCloseTo(5.5, 6);
    expect(loss.dataSync()[0]).toBeCloseTo(5.5, 6);
  });

  it("adds the cosine distance over channels, finite where the prediction is zero", () => {
    const zero = flowMatchingLoss((x) => tf.zerosLike(x), inputs, { cosine: true });
    expect(zero.loss.dataSync()[0]).toBeCloseTo(6.5, 6);
    // channels (1, 0) against the velocities (1, 4) and (1, 2)
    const { loss, mse } = flowMatchingLoss(() => tf.tensor4d([1, 1, 0, 0], [1, 2, 1, 2]), inputs, {
      cosine: true,
    });
    const distance = 1 - (1 / Math.sqrt(17) + 1 / Math.sqrt(5)) / 2;
    expect(loss.dataSync()[0]! - mse.dataSync()[0]!).toBeCloseTo(distance, 6);
  });
});
