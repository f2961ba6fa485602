/** Kernels that take nothing, or no more than a shape. What is known when a function is traced is a constant. */
import { tensor } from "@tensorflow/tfjs-core";
import { FILL, type Value } from "../../graph/graph.ts";
import { traceable } from "../backend.ts";
import { defineKernel, defineReplacement } from "../kernel.ts";
import { like } from "./arguments.ts";

defineKernel(FILL, {
  inputs: [],
  infer: (_, { shape, dtype }) => ({
    shape: shape as number[],
    dtype: traceable((dtype as Value["dtype"] | undefined) ?? "float32"),
  }),
  attributes: ({ value, shape, dtype }) => ({ value: Number(value), shape, dtype }),
});
defineKernel("ZerosLike", { inputs: ["x"], infer: like });
defineKernel("OnesLike", { inputs: ["x"], infer: like });

const numbers = (count: number, at: (i: number) => number, dtype: Value["dtype"]) =>
  tensor(
    Array.from({ length: count }, (_, i) => at(i)),
    [count],
    dtype,
  );

defineReplacement("Range", (_, attributes) => {
  const { start, stop, step, dtype } = attributes as Record<"start" | "stop" | "step", number> & {
    dtype?: Value["dtype"];
  };
  const count = Math.max(0, Math.ceil((stop - start) / step));
  return numbers(count, (i) => start + i * step, traceable(dtype ?? "float32"));
});
defineReplacement("LinSpace", (_, attributes) => {
  const { start, stop, num } = attributes as Record<"start" | "stop" | "num", number>;
  const step = num > 1 ? (stop - start) / (num - 1) : 0;
  return numbers(num, (i) => start + i * step, "float32");
});
