import { createRandom, ndarray } from "@aligntok/core";
import { describe, expect, it } from "vitest";
import {
  accumulateGradients,
  clipGradients,
  computeGradientNorm,
  createAdamW,
  createEma,
  type FlatParameters,
  flattenParameters,
  zerosLike,
} from "../src/index.ts";

const random = createRandom(0, "flat");
const drawn = (length: number) => random.normals(length);
const flat = (data: Float32Array) => flattenParameters({ x: ndarray(data, [data.length]) });

/** AdamW and the average in float64 but for storage, one element at a time: the formulas of the papers. */
function updateBySteps(
  { parameters: p, gradients: g, first: m, second: v, average }: Record<string, Float32Array>,
  step: number,
): void {
  for (let i = 0; i < p!.length; i++) {
    m![i] = 0.9 * m![i]! + 0.1 * g![i]!;
    v![i] = 0.99 * v![i]! + 0.01 * g![i]! ** 2;
    const [corrected1, corrected2] = [m![i]! / (1 - 0.9 ** step), v![i]! / (1 - 0.99 ** step)];
    p![i] = p![i]! * (1 - 0.1 * 0.05) - (0.1 * corrected1) / (Math.sqrt(corrected2) + 1e-8);
    average![i] = 0.5 * average![i]! + 0.5 * p![i]!;
  }
}

function train(parameters: FlatParameters, gradients: readonly Float32Array[]) {
  const ema = createEma(parameters, { decay: 0.5 });
  const optimizer = createAdamW(parameters, { betas: [0.9, 0.99], weightDecay: 0.05, ema });
  for (const gradient of gradients) optimizer.update(gradient, { lr: 0.1 });
  const { "x.exp_avg": first, "x.exp_avg_sq": second } = optimizer.state();
  return {
    parameters: parameters.flat,
    average: ema.parameters.flat,
    first: first!.data as Float32Array,
    second: second!.data as Float32Array,
  };
}

describe("loops over flat arrays", () => {
  // one vector and less, around one turn of the loop, around a block of the window, a memory of its own
  for (const length of [1, 3, 4, 15, 16, 17, 33, 16_383, 16_385, 65_535, 65_536, 100_003]) {
    it(`agree with the formulas at every one of ${length} elements`, () => {
      const initial = drawn(length);
      const gradients = [drawn(length), drawn(length)];
      const trained = train(flat(initial), gradients);
      const expected = {
        parameters: initial.slice(),
        average: initial.slice(),
        first: new Float32Array(length),
        second: new Float32Array(length),
      };
      gradients.forEach((gradient, i) => {
        updateBySteps({ ...expected, gradients: gradient }, i + 1);
      });
      for (const name of ["parameters", "average", "first", "second"] as const) {
        const error = expected[name].map((x, i) => Math.abs(x - trained[name][i]!));
        expect(error.reduce((a, b) => Math.max(a, b))).toBeLessThan(2e-6);
      }
      const norm = Math.sqrt(gradients[0]!.reduce((sum, x) => sum + x * x, 0));
      expect(computeGradientNorm(gradients[0]!) / norm).toBeCloseTo(1, 12);
    });
  }

  it("give the same bits for arrays in one memory and for arrays from elsewhere", () => {
    const initial = drawn(70_000);
    const gradients = [drawn(70_000), drawn(70_000), drawn(70_000)];
    const home = flat(initial);
    const elsewhere = { ...home, flat: initial.slice() };
    const homeGradients = zerosLike(home);
    expect(homeGradients.flat.buffer).toBe(home.flat.buffer);
    const ema = createEma(home, { decay: 0.5 });
    expect(ema.parameters.flat.buffer).toBe(home.flat.buffer);

    const one = createAdamW(home);
    const other = createAdamW(elsewhere);
    for (const gradient of gradients) {
      homeGradients.flat.set(gradient);
      one.update(homeGradients.flat, { lr: 0.1 });
      other.update(gradient, { lr: 0.1 });
    }
    expect(elsewhere.flat).toEqual(home.flat);
  });

  it("keep arrays of one memory apart, and go on where it is full", () => {
    const parameters = flat(new Float32Array(65_536).fill(1));
    const others = Array.from({ length: 8 }, () => zerosLike(parameters));
    others.forEach(({ flat }, i) => {
      expect(flat.every((x) => x === 0)).toBe(true);
      flat.fill(i + 2);
    });
    expect(parameters.flat.every((x) => x === 1)).toBe(true);
    others.forEach(({ flat }, i) => {
      expect(flat.every((x) => x === i + 2)).toBe(true);
    });
    const buffers = [parameters, ...others].map(({ flat }) => flat.buffer);
    expect(buffers.filter((buffer) => buffer === buffers[0])).toHaveLength(6);
  });

  it("hold gradients whose squares float32 cannot", () => {
    const gradients = Float32Array.of(1e25, -1e25, 1e-30, 0, 1e25, 2e25);
    expect(computeGradientNorm(gradients) / Math.sqrt(7e50)).toBeCloseTo(1, 6);
    expect(clipGradients(gradients, 1)).toBeGreaterThan(1e25);
    expect(computeGradientNorm(gradients)).toBeCloseTo(1, 6);
    const parameters = flat(new Float32Array(6));
    createAdamW(parameters).update(Float32Array.of(1e25, 0, 0, 0, 0, 0), { lr: 1, scale: 1e-25 });
    expect(parameters.flat[0]).toBeCloseTo(-1, 6);
  });
});

describe("accumulateGradients", () => {
  it("gives the gradients of a large batch from its parts, of unequal sizes too", () => {
    // least squares: the gradient of the mean of (w.x - y)^2 / 2 is the mean of (w.x - y) x
    const [samples, width] = [10, 7];
    const [w, x, y] = [drawn(width), drawn(samples * width), drawn(samples)];
    const gradientOf = (from: number, to: number) => {
      const gradient = new Float32Array(width);
      for (let n = from; n < to; n++) {
        const row = x.subarray(n * width, (n + 1) * width);
        const error = row.reduce((sum, value, i) => sum + value * w[i]!, 0) - y[n]!;
        for (let i = 0; i < width; i++) gradient[i]! += (error * row[i]!) / (to - from);
      }
      return gradient;
    };
    const sum = new Float32Array(width);
    for (const [from, to] of [
      [0, 4],
      [4, 8],
      [8, 10],
    ] as const) {
      accumulateGradients(sum, gradientOf(from, to), { weight: (to - from) / samples });
    }
    gradientOf(0, samples).forEach((expected, i) => {
      expect(sum[i]).toBeCloseTo(expected, 5);
    });
  });

  it("refuses gradients of another length", () => {
    expect(() => accumulateGradients(new Float32Array(3), new Float32Array(4))).toThrow(
      /gradients: expected 3 elements like the sum, got 4/,
    );
  });
});
