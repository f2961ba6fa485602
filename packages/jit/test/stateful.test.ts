import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, expectTypeOf, it } from "vitest";
import { compile, compileStateful, linear, spec, specOf, valueAndGrad } from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

const scalar = (value: number) => ndarray(Float32Array.of(value), []);
const random = createRandom(0, "stateful");
const weights = { w: ndarray(random.normals(15), [5, 3]), b: ndarray(random.normals(5), [5]) };
const zeros = { w: ndarray(new Float32Array(15), [5, 3]), b: ndarray(new Float32Array(5), [5]) };
const batches = Array.from({ length: 6 }, () => ({
  x: ndarray(random.normals(12), [4, 3]),
  y: ndarray(random.normals(20), [4, 5]),
}));

type Weights = { readonly w: Tensor; readonly b: Tensor };
const lossOf = ({ w, b }: Weights, { x, y }: { readonly x: Tensor; readonly y: Tensor }) =>
  tf.mean(tf.squaredDifference(tf.tanh(linear(x, w, b)), y)) as Tensor;
const names = ["w", "b"] as const;
const [lr, beta1, beta2, eps, decay] = [0.05, 0.9, 0.99, 1e-8, 0.1];

/** Counts, sums, and swaps two arrays: a state of every type. */
const counting = {
  fn: ({
    state: { count, sum, pair, odd },
    x,
  }: {
    state: { count: Tensor; sum: Tensor; pair: readonly Tensor[]; odd: Tensor };
    x: Tensor;
  }) => ({
    state: {
      count: tf.add(count, tf.scalar(1, "int32")),
      sum: tf.add(sum, x),
      pair: [pair[1]!, pair[0]!],
      odd: tf.logicalNot(odd),
    },
    outputs: { before: sum, after: tf.add(sum, x) },
  }),
  state: {
    count: ndarray(Int32Array.of(0), [], "int32"),
    sum: ndarray(Float32Array.of(0, 0), [2]),
    pair: [scalar(1), scalar(2)],
    odd: ndarray(Uint8Array.of(0), [], "bool"),
  },
  inputs: { x: spec([2]) },
} as const;
const at = (a: number, b: number) => ({ x: ndarray(Float32Array.of(a, b), [2]) });

describe.each([...compiledEngines, "reference"] as const)("%s", (engine) => {
  it("carries a state of every type from run to run, read before any of it is replaced", async () => {
    const program = await compileStateful(counting.fn, counting, { engine });
    expect((await program.run(at(1, 2))).before.data).toEqual(Float32Array.of(0, 0));
    const { before, after } = await program.run(at(10, 20));
    expect(before).toEqual(at(1, 2).x);
    expect(after).toEqual(at(11, 22).x);
    await program.run(at(0, 0));
    expect(await program.readState()).toEqual({
      count: ndarray(Int32Array.of(3), [], "int32"),
      sum: at(11, 22).x,
      pair: [scalar(2), scalar(1)],
      odd: ndarray(Uint8Array.of(1), [], "bool"),
    });
    expect(counting.state.sum.data).toEqual(Float32Array.of(0, 0));
    program.dispose();
    program.dispose();
    await expect(program.readState()).rejects.toThrow(/has been disposed/);
  });

  it("trains with AdamW as a loop on the host does", async () => {
    const host = await trainOnHost();
    const program = await compileStateful(adamWStep, training(), { engine });
    const losses: number[] = [];
    for (const batch of batches) losses.push((await program.run(batch)).data[0]!);
    expectClose(losses, host.losses);
    const { params } = await program.readState();
    for (const name of names) expectClose(params[name].data, host.params[name].data);
    program.dispose();
  });

  it("continues bit by bit from a state that was written back", async () => {
    const program = await compileStateful(adamWStep, training(), { engine });
    const half = batches.slice(0, 3);
    for (const batch of half) await program.run(batch);
    const saved = await program.readState();
    const copy = structuredClone(saved);
    for (const batch of half) await program.run(batch);
    const expected = await program.readState();
    expect(saved).toEqual(copy);
    await program.writeState(saved);
    (saved.params.w.data as Float32Array).fill(0); // it was copied
    for (const batch of half) await program.run(batch);
    expect(await program.readState()).toEqual(expected);

    const other = await compileStateful(adamWStep, training(), { engine });
    await other.writeState(copy);
    for (const batch of half) await other.run(batch);
    expect(await other.readState()).toEqual(expected);
    program.dispose();
    other.dispose();
  });

  it("fills arrays, heeds a signal, keeps its state where a run is refused, and takes bound inputs", async () => {
    const factor = scalar(3);
    const program = await compileStateful(
      ({ state, x, factor }: { state: Tensor; x: Tensor; factor: Tensor }) => {
        const next = tf.add(state, tf.mul(x, factor));
        return { state: next, outputs: { y: next } };
      },
      { state: at(0, 0).x, inputs: { x: spec([2]) } },
      { engine, bind: { factor } },
    );
    const y = at(0, 0).x;
    expect((await program.run(at(1, 2), { into: { y } })).y).toBe(y);
    expect(y).toEqual(at(3, 6).x);
    await expect(program.run({ x: scalar(1) })).rejects.toThrow(/^input x: expected float32 \[2\]/);
    await expect(program.run({ ...at(1, 1), state: y } as never)).rejects.toThrow(/^input state/);
    await expect(program.run(at(1, 1), { into: { z: y } })).rejects.toThrow(/^into outputs\/z/);
    const reason = new Error("enough");
    const options = { signal: AbortSignal.abort(reason) };
    await expect(program.run(at(1, 1), options)).rejects.toBe(reason);
    await expect(program.writeState(scalar(1) as never)).rejects.toThrow(/^input state: expected/);
    expect(await program.readState()).toEqual(at(3, 6).x);
    const calls = [program.run(at(1, 1)), program.readState(), program.run(at(1, 1))] as const;
    expect((await calls[0]).y).toEqual(at(6, 9).x);
    expect(await calls[1]).toEqual(at(6, 9).x);
    expect((await calls[2]).y).toEqual(at(9, 12).x);
    program.dispose();
  });

  it("refuses a function whose state is of another kind", async () => {
    const attempt = (fn: (given: { state: { a: Tensor } }) => unknown) =>
      compileStateful(fn as never, { state: { a: at(0, 0).x }, inputs: {} }, { engine });
    await expect(attempt(({ state }) => ({ state: {}, outputs: state.a }))).rejects.toThrow(
      /^state\/a: expected the function to return float32 \[2\] for it, got nothing\. /,
    );
    await expect(
      attempt(({ state: { a } }) => ({ state: { a: tf.sum(a) }, outputs: a })),
    ).rejects.toThrow(/^state\/a: expected .* got float32 \[\]/);
    await expect(
      attempt(({ state: { a } }) => ({ state: { a, b: a }, outputs: a })),
    ).rejects.toThrow(/^state\/b: returned as state, but/);
  });
});

it("has types that follow the function", async () => {
  const program = await compileStateful(counting.fn, counting);
  expectTypeOf(program.run).parameter(0).toEqualTypeOf<{ readonly x: NdArray }>();
  expectTypeOf(program.run).returns.resolves.toEqualTypeOf<{
    readonly before: NdArray<"float32">;
    readonly after: NdArray<"float32">;
  }>();
  program.dispose();
});

interface Training {
  readonly params: Weights;
  readonly m: Weights;
  readonly v: Weights;
  /** beta^t, so that no power is taken in the graph. */
  readonly decays: readonly Tensor[];
}

function training() {
  const state = { params: weights, m: zeros, v: zeros, decays: [scalar(1), scalar(1)] };
  return { state, inputs: specOf(batches[0]!) };
}

/** AdamW as in PyTorch: decoupled decay, both moments corrected for their start at zero. */
function adamWStep({ state, x, y }: { state: Training; x: Tensor; y: Tensor }) {
  const { value, gradients } = valueAndGrad((p: Weights) => lossOf(p, { x, y }), state.params);
  const [d1, d2] = [tf.mul(state.decays[0]!, beta1), tf.mul(state.decays[1]!, beta2)];
  const next = { params: {}, m: {}, v: {} } as Record<"params" | "m" | "v", Record<string, Tensor>>;
  for (const name of names) {
    const g = gradients[name];
    const m = tf.add(tf.mul(state.m[name], beta1), tf.mul(g, 1 - beta1));
    const v = tf.add(tf.mul(state.v[name], beta2), tf.mul(tf.square(g), 1 - beta2));
    const root = tf.add(tf.sqrt(tf.div(v, tf.sub(1, d2))), eps);
    const step = tf.div(tf.div(m, tf.sub(1, d1)), root);
    next.params[name] = tf.sub(tf.mul(state.params[name], 1 - lr * decay), tf.mul(step, lr));
    next.m[name] = m;
    next.v[name] = v;
  }
  return { state: { ...next, decays: [d1, d2] } as unknown as Training, outputs: value };
}

/** The same by hand: gradients from a compiled function, the update in double precision. */
async function trainOnHost() {
  const step = await compile(
    ({ params, x, y }: { params: Weights; x: Tensor; y: Tensor }) =>
      valueAndGrad((p: Weights) => lossOf(p, { x, y }), params),
    specOf({ params: weights, ...batches[0]! }),
  );
  const params = structuredClone(weights);
  const moments = { w: [], b: [] } as Record<"w" | "b", { m: number; v: number }[]>;
  const losses: number[] = [];
  for (const [i, batch] of batches.entries()) {
    const { value, gradients } = await step.run({ params, ...batch });
    losses.push(value.data[0]!);
    for (const name of names) {
      gradients[name].data.forEach((g, j) => {
        const { m, v } = moments[name][j] ?? { m: 0, v: 0 };
        const next = { m: beta1 * m + (1 - beta1) * g, v: beta2 * v + (1 - beta2) * g * g };
        moments[name][j] = next;
        const corrected = next.m / (1 - beta1 ** (i + 1));
        const root = Math.sqrt(next.v / (1 - beta2 ** (i + 1))) + eps;
        params[name].data[j]! *= 1 - lr * decay;
        params[name].data[j]! -= (lr * corrected) / root;
      });
    }
  }
  step.dispose();
  return { losses, params };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(
      1e-5 * Math.max(1, Math.abs(expected[i]!)),
    );
  }
}
