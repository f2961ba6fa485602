/** The convolution at the lower resolution against upsampling and convolving, values and gradients. */
import "@tensorflow/tfjs-backend-cpu";
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import {
  compile,
  conv2d,
  specOf,
  upsampleConv2d,
  upsampleNearest2x,
  valueAndGrad,
} from "../src/index.ts";
import { compiledEngines } from "./engines-here.ts";

const random = createRandom(0, "upsample-conv");
const normals = (shape: number[]) => ndarray(random.normals(sizeOf(shape)), shape);

const plain = (x: Tensor, weight: Tensor, bias: Tensor) =>
  conv2d(upsampleNearest2x(x), weight, { bias, padding: 1 });

for (const engine of compiledEngines) {
  it.each([
    { n: 2, i: 3, o: 4, h: 5, w: 4 },
    { n: 1, i: 2, o: 1, h: 1, w: 3 },
  ])(`equals its definition on ${engine}, $n $i $o $h $w`, async ({ n, i, o, h, w }) => {
    const inputs = {
      x: normals([n, i, h, w]),
      weight: normals([o, i, 3, 3]),
      bias: normals([o]),
      slope: normals([n, o, 2 * h, 2 * w]),
    };
    const run = async (apply: typeof plain) => {
      const compiled = await compile(
        ({ slope, ...rest }) =>
          valueAndGrad(
            ({ x, weight, bias }) => tf.sum(tf.mul(apply(x!, weight!, bias!), slope as Tensor)),
            rest as Record<string, Tensor>,
          ),
        specOf(inputs),
        { engine },
      );
      const result = (await compiled.run(inputs)) as unknown as {
        value: NdArray<"float32">;
        gradients: Record<string, NdArray<"float32">>;
      };
      compiled.dispose();
      return { value: result.value, ...result.gradients };
    };
    const [ours, expected] = [await run(upsampleConv2d), await run(plain)];
    for (const [name, array] of Object.entries(expected)) {
      const got = ours[name as keyof typeof ours] as NdArray<"float32">;
      expect(got.shape).toEqual(array.shape);
      for (const [k, value] of array.data.entries()) expect(got.data[k]).toBeCloseTo(value, 3);
    }
  });
}
