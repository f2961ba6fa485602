import { readFileSync } from "node:fs";
import { ndarray, type Parameters } from "@aligntok/core";
import { compile, compileStateful, engines, specOf } from "@aligntok/jit";
import { describe, expect, it } from "vitest";
import {
  type AdamWOptions,
  type AdamWUpdateOptions,
  adamWUpdate,
  clipGradients,
  computeClipScale,
  computeGradientNorm,
  createAdam,
  createAdamW,
  createCosineSchedule,
  createEma,
  type FlatParameters,
  flattenParameters,
  type Optimizer,
  zerosLike,
} from "../src/index.ts";

const compiledEngines = (await engines())
  .filter(({ name, available }) => name !== "reference" && available)
  .map(({ name }) => name);

interface Case {
  shapes: Record<string, number[]>;
  initial: Record<string, number[]>;
  steps: { gradients: Record<string, number[]>; lr: number; norm?: number }[];
  final: Record<string, number[]>;
  expAvg: Record<string, number[]>;
  expAvgSq: Record<string, number[]>;
  ema?: Record<string, number[]>;
}

function readCase(name: string) {
  const path = new URL(`fixtures/${name}.json`, import.meta.url);
  const golden = JSON.parse(readFileSync(path, "utf8")) as Case;
  const toParameters = (values: Record<string, number[]>): Parameters =>
    Object.fromEntries(
      Object.entries(values).map(([key, list]) => [
        key,
        ndarray(Float32Array.from(list), golden.shapes[key]!),
      ]),
    );
  return { golden, toParameters, parameters: flattenParameters(toParameters(golden.initial)) };
}

/** Largest difference relative to the root mean square of the golden array. */
function relativeError(actual: Float32Array, golden: readonly number[]): number {
  const scale = Math.sqrt(golden.reduce((sum, x) => sum + x * x, 0) / golden.length);
  return Math.max(...golden.map((x, i) => Math.abs(actual[i]! - x))) / scale;
}

function expectState(golden: Case, parameters: FlatParameters, optimizer: Optimizer): void {
  const state = optimizer.state();
  for (const name of parameters.names) {
    expect(relativeError(parameters.views[name]!.data, golden.final[name]!)).toBeLessThan(1e-6);
    const first = state[`${name}.exp_avg`]!.data as Float32Array;
    expect(relativeError(first, golden.expAvg[name]!)).toBeLessThan(1e-6);
    const second = state[`${name}.exp_avg_sq`]!.data as Float32Array;
    expect(relativeError(second, golden.expAvgSq[name]!)).toBeLessThan(1e-6);
  }
}

describe("torch.optim over 20 steps", () => {
  it("Adam with a fused moving average, and the same average on its own", () => {
    const { golden, toParameters, parameters } = readCase("adam");
    const ema = createEma(parameters, { decay: 0.9 });
    const alone = createEma(parameters, { decay: 0.9 });
    const optimizer = createAdam(parameters, { betas: [0.5, 0.9], ema });
    for (const { gradients, lr } of golden.steps) {
      optimizer.update(flattenParameters(toParameters(gradients)).flat, { lr });
      alone.update(parameters);
    }
    expectState(golden, parameters, optimizer);
    for (const name of parameters.names) {
      expect(relativeError(ema.parameters.views[name]!.data, golden.ema![name]!)).toBeLessThan(
        1e-6,
      );
    }
    expect(ema.parameters.flat).toEqual(alone.parameters.flat);
  });

  it("AdamW with weight decay, clipping and a cosine schedule", () => {
    const { golden, toParameters, parameters } = readCase("adamw");
    const options = { betas: [0.9, 0.95], eps: 1e-6, weightDecay: 0.1 } as const;
    const optimizer = createAdamW(parameters, options);
    const schedule = createCosineSchedule(1e-2, { steps: golden.steps.length, minimum: 1e-3 });
    golden.steps.forEach(({ gradients, lr, norm }, step) => {
      const { flat } = flattenParameters(toParameters(gradients));
      const ours = computeGradientNorm(flat);
      expect(Math.abs(ours / norm! - 1)).toBeLessThan(1e-6);
      expect(Math.abs(schedule(step) / lr - 1)).toBeLessThan(1e-12);
      optimizer.update(flat, { lr: schedule(step), scale: computeClipScale(ours, 0.5) });
    });
    expectState(golden, parameters, optimizer);
  });

  it("AdamW with rates and decay by prefix", () => {
    const { golden, toParameters, parameters } = readCase("adamw-groups");
    const options: AdamWOptions = {
      weightDecay: 0.05,
      groups: [
        { prefix: "blocks.1", lrScale: 0.1 }, // must not reach blocks.10
        { prefix: "head", lrScale: 2, weightDecay: 0 },
      ],
    };
    const optimizer = createAdamW(parameters, options);
    for (const { gradients } of golden.steps) {
      optimizer.update(flattenParameters(toParameters(gradients)).flat, { lr: 1e-2 });
    }
    expectState(golden, parameters, optimizer);
  });
});

describe("adamWUpdate", () => {
  const cases: readonly [string, AdamWUpdateOptions][] = [
    ["adam", { betas: [0.5, 0.9], weightDecay: 0, emaDecay: 0.9 }],
    [
      "adamw-groups",
      {
        weightDecay: 0.05,
        groups: [
          { prefix: "blocks.1", lrScale: 0.1 },
          { prefix: "head", lrScale: 2, weightDecay: 0 },
        ],
      },
    ],
  ];
  const onEngines = cases.flatMap(([name, options]) =>
    compiledEngines.map((engine) => ({ name, engine, options })),
  );
  it.each(onEngines)("is torch.optim over 20 steps: $name on $engine", async (tested) => {
    const { name, engine, options } = tested;
    const { golden, toParameters, parameters } = readCase(name);
    const given = (step: number) => ({
      gradients: toParameters(golden.steps[step]!.gradients),
      lr: ndarray(Float32Array.of(name === "adam" ? golden.steps[step]!.lr : 1e-2), []),
    });
    const initial = {
      parameters: parameters.views,
      first: zerosLike(parameters).views,
      second: zerosLike(parameters).views,
      ...(golden.ema && { ema: parameters.views }),
      step: ndarray(Int32Array.of(0), [], "int32"),
    };
    const update = await compileStateful(
      ({ state, gradients, lr }) => {
        const next = adamWUpdate({ ...state, gradients, lr }, options);
        return { state: next, outputs: next.step };
      },
      { state: initial, inputs: specOf(given(0)) },
      { engine },
    );
    for (let step = 0; step < golden.steps.length; step++) await update.run(given(step));
    const state = await update.readState();
    expect(state.step.data[0]).toBe(20);
    for (const parameter of parameters.names) {
      const errors = [
        relativeError(state.parameters[parameter]!.data, golden.final[parameter]!),
        relativeError(state.first[parameter]!.data, golden.expAvg[parameter]!),
        relativeError(state.second[parameter]!.data, golden.expAvgSq[parameter]!),
        golden.ema ? relativeError(state.ema![parameter]!.data, golden.ema[parameter]!) : 0,
      ];
      expect(Math.max(...errors)).toBeLessThan(1e-6);
    }
    update.dispose();
  });

  it("refuses records with other names", async () => {
    const x = ndarray(new Float32Array(1), [1]);
    const inputs = { a: { a: x }, b: { b: x }, scalar: ndarray(Float32Array.of(0), []) };
    const compiled = compile(
      ({ a, b, scalar }) =>
        adamWUpdate({ parameters: a, gradients: b, first: a, second: a, step: scalar, lr: scalar }),
      specOf(inputs),
    );
    await expect(compiled).rejects.toThrow("gradients: expected all parameters, got none for a");
  });
});

describe("a fused moving average", () => {
  it("equals one updated on its own at every length, in ranges of odd lengths too", () => {
    for (const length of [1, 2, 3, 8, 9]) {
      const parameters = flattenParameters({
        a: ndarray(
          Float32Array.from({ length }, (_, i) => Math.cos(i)),
          [length],
        ),
        b: ndarray(
          Float32Array.from({ length: 5 }, (_, i) => Math.sin(i)),
          [5],
        ),
      });
      const ema = createEma(parameters, { decay: 0.5 });
      const alone = createEma(parameters, { decay: 0.5 });
      const optimizer = createAdam(parameters, { ema, groups: [{ prefix: "b", lrScale: 2 }] });
      const gradients = zerosLike(parameters).flat.map((_, i) => i - 3);
      for (let step = 0; step < 3; step++) {
        optimizer.update(gradients, { lr: 0.1 });
        alone.update(parameters);
      }
      expect(ema.parameters.flat).toEqual(alone.parameters.flat);
    }
  });
});

describe("optimizer state", () => {
  it("continues bit for bit after a restore", () => {
    const { golden, toParameters, parameters } = readCase("adamw");
    const copy = flattenParameters(parameters.views);
    const gradients = golden.steps.map(
      (step) => flattenParameters(toParameters(step.gradients)).flat,
    );
    const through = createAdamW(parameters);
    for (const gradient of gradients) through.update(gradient, { lr: 1e-2 });

    const before = createAdamW(copy);
    for (const gradient of gradients.slice(0, 7)) before.update(gradient, { lr: 1e-2 });
    const after = createAdamW(copy);
    after.restore(structuredClone(before.state()));
    expect(after.steps).toBe(7);
    for (const gradient of gradients.slice(7)) after.update(gradient, { lr: 1e-2 });
    expect(copy.flat).toEqual(parameters.flat);
  });

  it("refuses a state of another layout", () => {
    const one = flattenParameters({ a: ndarray(new Float32Array(4), [4]) });
    const other = flattenParameters({ a: ndarray(new Float32Array(4), [2, 2]) });
    expect(() => createAdam(one).restore(createAdam(other).state())).toThrow(
      /optimizer state a.exp_avg: expected float32 \[4\], got float32 \[2,2\]/,
    );
    expect(() => createAdam(one).restore({})).toThrow(/got none/);
  });

  it("refuses gradients of another length and groups that hold nothing", () => {
    const { parameters } = readCase("adam");
    expect(() => createAdam(parameters).update(new Float32Array(3), { lr: 1 })).toThrow(
      /gradients: expected 86 elements, got 3/,
    );
    expect(() => createAdamW(parameters, { groups: [{ prefix: "hea" }] })).toThrow(/prefix hea/);
  });
});

describe("clipping", () => {
  it("scales in place only what is too long", () => {
    const { parameters } = readCase("adam");
    const gradients = zerosLike(parameters);
    gradients.flat.fill(1);
    expect(clipGradients(gradients.flat, 1)).toBeCloseTo(Math.sqrt(86), 10);
    expect(computeGradientNorm(gradients.flat)).toBeCloseTo(1, 6);
    const before = gradients.flat.slice();
    clipGradients(gradients.flat, 2);
    expect(gradients.flat).toEqual(before);
  });
});
