/** Products of matrices. */
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { type Domain, length, type Operation, operation, shape } from "./operation.ts";

const product = fc
  .record({
    batch: fc.oneof(fc.constant([] as number[]), shape(1, 2)),
    m: length,
    k: length,
    n: length,
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    shared: fc.boolean(),
  })
  .map(({ batch, m, k, n, transposeA, transposeB, shared }) => ({
    shapes: [
      [...batch, ...(transposeA ? [k, m] : [m, k])],
      [...(shared ? [] : batch), ...(transposeB ? [n, k] : [k, n])],
    ],
    options: { transposeA, transposeB },
  }));

/** Equations with the shapes of what they take: products, traces of shapes, sums, outer products. */
const equations = fc
  .record({
    equation: fc.constantFrom(
      "ij,jk->ik",
      "bij,bjk->bik",
      "bhtd,bhsd->bhts",
      "bij,kj->ibk",
      "ij->ji",
      "ijk->k",
      "i,j->ij",
      "bi,bi->b",
      "ij,j->i",
      "ij,ij->",
      "abi,ci->cab",
    ),
    sizes: fc.array(fc.constantFrom(1, 2, 3), { minLength: 11, maxLength: 11 }),
  })
  .map(({ equation, sizes }) => ({
    shapes: equation
      .split("->")[0]!
      .split(",")
      .map((term) => [...term].map((name) => sizes["abcdhijkst".indexOf(name)]!)),
    options: { equation },
  }));

const small: Domain = { dtype: "int32", map: (x) => Math.round(2 * x) };

export const products: readonly Operation[] = [
  operation({
    name: "tf.matMul",
    kernels: ["BatchMatMul"],
    draw: product,
    call: ([a, b], { transposeA, transposeB }) => tf.matMul(a!, b!, transposeA, transposeB),
  }),
  operation({
    name: "tf.matMul of integers",
    kernels: ["BatchMatMul"],
    draw: product,
    domain: small,
    call: ([a, b], { transposeA, transposeB }) => tf.matMul(a!, b!, transposeA, transposeB),
    gradient: false,
  }),
  operation({
    name: "tf.dot, tf.outerProduct",
    kernels: ["BatchMatMul"],
    draw: length.map((n) => ({ shapes: [[n], [n]], options: undefined })),
    call: ([a, b]) => [tf.dot(a!, b!), tf.outerProduct(a as tf.Tensor1D, b as tf.Tensor1D)],
  }),
  operation({
    name: "tf.einsum",
    kernels: ["Einsum"],
    draw: equations,
    call: (xs, { equation }) => tf.einsum(equation, ...xs),
  }),
  operation({
    name: "tf.fused.matMul",
    kernels: ["_FusedMatMul"],
    draw: fc
      .tuple(
        fc.constantFrom("linear", "relu", "elu", "sigmoid", "leakyrelu" as const),
        length,
        length,
      )
      .map(([activation, m, n]) => ({ shapes: [[m, 3], [3, n], [n]], options: { activation } })),
    // Far from the corners of the activations.
    domain: [{}, {}, { map: (x) => 20 * Math.sign(x) }],
    call: ([a, b, bias], { activation }) =>
      tf.fused.matMul({
        a: a!,
        b: b!,
        bias: bias!,
        activation: activation as "relu",
        leakyreluAlpha: 0.3,
      }),
  }),
];
