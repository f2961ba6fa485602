/** Our operations on vectors and tokens. */
import fc from "fast-check";
import {
  attention,
  crossEntropy,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  rmsNorm,
  rope,
  silu,
  swiglu,
} from "../../src/index.ts";
import { below, length, type Operation, one, operation, shape } from "./operation.ts";

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
    kernels: ["RmsNorm", "StandardizeRms"],
    draw: vectors(1),
    call: ([x, weight]) => rmsNorm(x!, weight, 1e-2),
  }),
  operation({
    name: "groupNorm",
    kernels: ["ChannelAffine"],
    draw: fc.tuple(length, fc.constantFrom(2, 4), length, fc.boolean()).map(([n, c, w, silu]) => ({
      shapes: [[n, c, 3, w], [c], [c]],
      options: { silu },
    })),
    call: ([x, weight, bias], { silu }) =>
      groupNorm(x!, weight!, bias!, { groups: 2, eps: 1e-2, silu }),
    note: "a composition with a gradient of its own",
  }),
  operation({ name: "gelu", kernels: ["Gelu", "GeluSlope"], draw: one, call: ([x]) => gelu(x!) }),
  operation({
    name: 'gelu, "tanh"',
    kernels: ["Gelu", "GeluSlope"],
    draw: one,
    call: ([x]) => gelu(x!, "tanh"),
  }),
  operation({ name: "silu", kernels: ["Silu"], draw: one, call: ([x]) => silu(x!) }),
  operation({
    name: "swiglu",
    kernels: ["Silu"],
    draw: shape(1, 3).map((x) => ({
      shapes: [[...x.slice(0, -1), 2 * x.at(-1)!]],
      options: undefined,
    })),
    call: ([x]) => swiglu(x!),
    note: "a composition",
  }),
  operation({
    name: "attention",
    kernels: ["Attention"],
    draw: fc
      .record({
        sizes: fc.tuple(length, length, length, length),
        causal: fc.boolean(),
        bias: fc.constantFrom("none", "for each head", "for each image"),
      })
      .map(({ sizes: [b, h, t, s], causal, bias }) => ({
        shapes: [
          [b, h, t, 4],
          [b, h, s, 4],
          [b, h, s, 3],
          ...(bias === "none" ? [] : [bias === "for each head" ? [h, 1, s] : [b, 1, t, s]]),
        ],
        options: { causal },
      })),
    call: ([q, k, v, bias], { causal }) =>
      attention(q!, k!, v!, { scale: 0.6, causal, ...(bias && { bias }) }),
  }),
  operation({
    name: "rope",
    kernels: ["Rope"],
    draw: fc
      .tuple(fc.array(length, { maxLength: 2 }), length, length, fc.boolean())
      .map(([leading, t, half, interleaved]) => ({
        shapes: [
          [...leading, t, 2 * half],
          [t, half],
          [t, half],
        ],
        options: { interleaved },
      })),
    call: ([x, cos, sin], options) => rope(x!, cos!, sin!, options),
  }),
  operation({
    name: "crossEntropy",
    kernels: ["LogSoftmax"],
    draw: fc
      .tuple(fc.array(length, { maxLength: 2 }), fc.constantFrom("none", "mean", "sum"))
      .map(([rows, reduction]) => ({ shapes: [[...rows, 4], rows], options: { reduction } })),
    domain: [{}, below(4)],
    call: ([logits, classes], { reduction }) =>
      crossEntropy(logits!, classes!, { labelSmoothing: 0.1, reduction }),
    note: "a composition with a gradient of its own",
  }),
];
