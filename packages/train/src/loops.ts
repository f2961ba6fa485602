/** The loops of training over flat float32 arrays, in float32 arithmetic as PyTorch's. */
import type { Lanes, Loop } from "./simd.ts";

/**
 * m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, p = p - (decay p + size m / (sqrt(v) + eps)),
 * with g = scale gradients: `decay` is rate times weight decay, `size` and `eps` hold the bias corrections.
 */
function updateAdamW(lanes: Lanes): ReturnType<Lanes["keep"]> {
  const { load, store, constant, keep, add, sub, mul, div, sqrt } = lanes;
  const gradient = keep(mul(load("gradients"), constant("scale")));
  const kept1 = mul(load("first"), constant("beta1"));
  const first = keep(add(kept1, mul(gradient, constant("gain1"))));
  store("first", first);
  const kept2 = mul(load("second"), constant("beta2"));
  const second = keep(add(kept2, mul(mul(gradient, gradient), constant("gain2"))));
  store("second", second);
  const step = div(mul(first, constant("size")), add(sqrt(second), constant("eps")));
  const before = keep(load("parameters"));
  const after = keep(sub(before, add(mul(before, constant("decay")), step)));
  store("parameters", after);
  return after;
}

/** average = average + gain (source - average) */
function updateAverage(
  { load, store, constant, keep, add, sub, mul }: Lanes,
  source: readonly number[],
): void {
  const before = keep(load("average"));
  store("average", add(before, mul(sub(source, before), constant("gain"))));
}

const adamWWrites = ["parameters", "first", "second"];
const adamWArrays = ["parameters", "gradients", "first", "second"];
const adamWConstants = ["scale", "beta1", "gain1", "beta2", "gain2", "size", "eps", "decay"];

export type LoopName =
  | "adamW"
  | "adamWWithAverage"
  | "average"
  | "sumOfSquares"
  | "scale"
  | "accumulate";

export const loops: Readonly<Record<LoopName, Loop>> = {
  adamW: { arrays: adamWArrays, writes: adamWWrites, constants: adamWConstants, body: updateAdamW },
  adamWWithAverage: {
    arrays: [...adamWArrays, "average"],
    writes: [...adamWWrites, "average"],
    constants: [...adamWConstants, "gain"],
    body: (lanes) => updateAverage(lanes, updateAdamW(lanes)),
  },
  average: {
    arrays: ["average", "source"],
    writes: ["average"],
    constants: ["gain"],
    body: (lanes) => updateAverage(lanes, lanes.keep(lanes.load("source"))),
  },
  sumOfSquares: {
    arrays: ["x"],
    writes: [],
    constants: [],
    body: ({ load, keep, sumSquares }) => sumSquares(keep(load("x"))),
  },
  scale: {
    arrays: ["x"],
    writes: ["x"],
    constants: ["factor"],
    body: ({ load, store, constant, mul }) => store("x", mul(load("x"), constant("factor"))),
  },
  accumulate: {
    arrays: ["sum", "x"],
    writes: ["sum"],
    constants: ["weight"],
    body: ({ load, store, constant, add, mul }) =>
      store("sum", add(load("sum"), mul(load("x"), constant("weight")))),
  },
};
