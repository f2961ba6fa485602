/** Our operations on vectors and tokens. */
import fc from "fast-check";
import { attention, gelu, groupNorm, layerNorm, linear, rmsNorm, silu } from "../../src/index.ts";
import { length, type Operation, one, operation, shape } from "./operation.ts";

/** Any tensor whose last axis is long enough to have a variance, and vectors like it. */
const vectors = (count: number) =>
  fc.tuple(fc.array(length, { maxLength: 2 }), fc.constantFrom(4, 5, 7)).map(([leading, n]) => ({
    shapes: [[...leading, n], ...Array.from({ length: count }, () => [n])],
    options: undefined,
  }));

export const networks: readonly Operation[] = [
  operation({
    name: "linear",
    kernels: ["Linear"],
    draw: fc.tuple(shape(1, 3), length, fc.boolean()).map(([x, outputs, bias]) => ({
      shapes: [x, [outputs, x.at(-1)!], ...(bias ? [[outputs]] : [])],
      options: undefined,
    })),
    call: ([x, weight, bias]) => linear(x!, weight!, bias),
  }),
  operation({
    name: "layerNorm",
    kernels: ["LayerNorm", "Standardize"],
    draw: vectors(2),
    call: ([x, weight, bias]) => layerNorm(x!, weight, bias, 1e-2),
  }),
  operation({
    name: "rmsNorm",
    kernels: ["RmsNorm"],
    draw: vectors(1),
    call: ([x, weight]) => rmsNorm(x!, weight, 1e-2),
  }),
  operation({
    name: "groupNorm",
    kernels: [],
    draw: fc.tuple(length, fc.constantFrom(2, 4), length, fc.boolean()).map(([n, c, w, silu]) => ({
      shapes: [[n, c, 3, w], [c], [c]],
      options: { silu },
    })),
    call: ([x, weight, bias], { silu }) =>
      groupNorm(x!, weight!, bias!, { groups: 2, eps: 1e-2, silu }),
    note: "a composition with a gradient of its own",
  }),
  operation({ name: "gelu", kernels: ["Gelu"], draw: one, call: ([x]) => gelu(x!) }),
  operation({
    name: 'gelu, "tanh"',
    kernels: ["Gelu"],
    draw: one,
    call: ([x]) => gelu(x!, "tanh"),
  }),
  operation({ name: "silu", kernels: ["Silu"], draw: one, call: ([x]) => silu(x!) }),
  operation({
    name: "attention",
    kernels: ["Attention"],
    draw: fc.tuple(length, length, length, length).map(([b, h, t, s]) => ({
      shapes: [
        [b, h, t, 4],
        [b, h, s, 4],
        [b, h, s, 3],
      ],
      options: undefined,
    })),
    call: ([q, k, v]) => attention(q!, k!, v!, 0.6),
  }),
];
