/** What the machine can do: arithmetic by a large matrix product, memory by an optimizer. */
import { compile, specOf } from "@aligntok/jit";
import { createAdamW, createEma, flattenParameters, zerosLike } from "@aligntok/train";
import { matMul } from "@tensorflow/tfjs-core";
import type { BenchCase } from "./case.ts";
import { timed } from "./stopwatch.ts";
import { createWeights, normals } from "./weights.ts";

const side = 2048;

/** Its rate in operations a second is what the rates of all other cases are shares of. */
export const matmulCase: BenchCase = {
  name: "matmul",
  what: `product of two ${side} x ${side} matrices`,
  family: "machine",
  gflop: (2 * side ** 3) / 1e9,
  async prepare(engine) {
    const inputs = { a: normals([side, side]), b: normals([side, side]) };
    const { value: product, ms: compileMs } = await timed(() =>
      compile(({ a, b }) => matMul(a, b), specOf(inputs), engine),
    );
    return { parameters: 0, compileMs, run: () => product.run(inputs) };
  },
};

export const optimizerCase: BenchCase = {
  name: "adamw-ema-100m",
  what: "AdamW and a moving average of 100 million parameters",
  family: "train",
  bar: 1,
  async prepare() {
    const shapes = Array.from({ length: 100 }, (_, i) => [`layer${i}`, [1000, 1000]] as const);
    const weights = flattenParameters(createWeights(Object.fromEntries(shapes)));
    const gradients = zerosLike(weights);
    for (const { data } of Object.values(gradients.views)) data.set(normals([data.length]).data);
    const adam = createAdamW(weights, { ema: createEma(weights) });
    return {
      parameters: weights.flat.length,
      run: async () => adam.update(gradients.flat, { lr: 1e-5 }),
    };
  },
};
