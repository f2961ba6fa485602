import { type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, expectTypeOf, it } from "vitest";
import { jit } from "../src/index.ts";

const array = (...values: number[]) => ndarray(Float32Array.from(values), [values.length]);

/** A jitted function, and how often it was traced for which length. */
function counted(maxShapes?: number) {
  const traced: number[] = [];
  const sum = jit(
    ({ x, shift }: { x: Tensor; shift?: Tensor }) => {
      traced.push(x.shape[0]!);
      return tf.sum(shift ? tf.add(x, shift) : x);
    },
    maxShapes === undefined ? {} : { maxShapes },
  );
  const of = async (...values: number[]) => (await sum({ x: array(...values) })).data[0];
  return { sum, of, traced };
}

it("compiles once for each set of shapes, types and names", async () => {
  const { sum, of, traced } = counted();
  expect(await Promise.all([of(1, 2), of(3, 4), of(1, 2, 3)])).toEqual([3, 7, 6]);
  expect(traced).toEqual([2, 3]);
  const x = array(1, 2);
  const shift = array(10);
  expect((await sum({ x, shift })).data[0]).toBe(23);
  expect((await sum({ shift, x })).data[0]).toBe(23); // the order of keys is no difference
  expect((await sum({ x: ndarray(Int32Array.of(1, 2), [2], "int32") })).dtype).toBe("int32");
  expect(traced).toEqual([2, 3, 2, 2]);
  sum.dispose();
});

it("holds as many graphs as it may, and lets the least recently used one go", async () => {
  const { sum, of, traced } = counted(2);
  for (const length of [1, 2, 1, 3, 1, 2]) await of(...Array<number>(length).fill(1));
  expect(traced).toEqual([1, 2, 3, 2]);
  sum.dispose();
});

it("finishes calls whose graph has to make room, and those under way when disposed", async () => {
  const { sum, of, traced } = counted(1);
  expect(await Promise.all([of(1), of(1, 1), of(1, 1, 1), of(2)])).toEqual([1, 2, 3, 2]);
  const underWay = of(5, 5);
  sum.dispose();
  sum.dispose();
  expect(await underWay).toBe(10);
  expect(await of(5, 6)).toBe(11); // works again
  expect(traced).toEqual([1, 2, 3, 1, 2, 2]);
  sum.dispose();
});

it("passes targets and signals on", async () => {
  const double = jit((x: Tensor) => tf.mul(x, 2));
  const into = array(0, 0);
  expect(await double(array(1, 2), { into })).toBe(into);
  expect(into).toEqual(array(2, 4));
  const aborted = double(array(1, 2), { signal: AbortSignal.abort(new Error("enough")) });
  await expect(aborted).rejects.toThrow("enough");
  double.dispose();
});

it("throws what compile throws, and tries again at the next call", async () => {
  let calls = 0;
  const readsValues = jit((x: Tensor) => {
    if (calls++ === 0) x.dataSync();
    return x;
  });
  const x = array(1);
  await expect(readsValues(x)).rejects.toMatchObject({ code: "bad-input" });
  expect(await readsValues(x)).toEqual(x);
  readsValues.dispose();
  const float64 = ndarray(Float64Array.of(1), [1], "float64");
  await expect(jit((y: Tensor) => y)(float64)).rejects.toThrow(/expected float32, int32 or bool/);
  expect(() => jit((y: Tensor) => y, { maxShapes: 0 })).toThrow(/maxShapes: expected/);
  const double = jit((y: Tensor) => tf.mul(y, 2));
  const nested = jit((y: Tensor) => {
    void double(y as never);
    return y;
  });
  await expect(nested(x)).rejects.toThrow(/called inside a traced function/);
});

it("leaves out of the calls what is bound", async () => {
  const w = array(2, 3);
  const scale = jit(({ w, x }: { w: Tensor; x: Tensor }) => tf.mul(w, x), { bind: { w } });
  expectTypeOf(scale).parameter(0).toEqualTypeOf<{ readonly x: NdArray }>();
  expect((await scale({ x: array(10, 10) })).data).toEqual(Float32Array.of(20, 30));
  expect((await scale({ x: array(1) })).data).toEqual(Float32Array.of(2, 3));
  scale.dispose();
});
