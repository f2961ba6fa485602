/** Our operations on images, in PyTorch's layout (N, C, H, W). */
import fc from "fast-check";
import {
  averagePool2d,
  conv2d,
  convTranspose2d,
  maxPool2d,
  resizeBilinear2d,
  upsampleConv2d,
  upsampleNearest2x,
} from "../../src/index.ts";
import { distinct, length, type Operation, operation } from "./operation.ts";

type Pair = readonly [number, number];
type Sides = readonly [number, number, number, number];

const small = fc.constantFrom(1, 2, 3);
const side = fc.integer({ min: 5, max: 9 });
const padding = fc.oneof(
  fc.constantFrom(0, 1, 2),
  fc.tuple(small, fc.nat(2), fc.nat(2), small) as fc.Arbitrary<Sides>,
);

const convolution = fc
  .record({
    n: small,
    size: fc.tuple(side, side),
    kernel: fc.constantFrom<Pair>([1, 1], [3, 3], [2, 2], [4, 4], [1, 3], [3, 2]),
    groups: fc.constantFrom(1, 1, 2, 3),
    inputs: small,
    outputs: small,
    stride: small,
    dilation: fc.constantFrom(1, 1, 2, 3),
    padding,
    bias: fc.boolean(),
  })
  // The widest kernel, 4 with distance 3, is larger than the smallest image.
  .filter(({ kernel, dilation, size }) => kernel.every((k, i) => dilation * (k - 1) < size[i]!))
  .map(({ n, size, kernel, inputs, outputs, ...options }) => {
    const { groups, bias } = options;
    const o = groups * outputs;
    const shapes = [
      [n, groups * inputs, ...size],
      [o, inputs, ...kernel],
    ];
    return { shapes: bias ? [...shapes, [o]] : shapes, options };
  });

const transposed = fc
  .record({
    n: small,
    size: fc.tuple(small, small),
    kernel: fc.constantFrom<Pair>([1, 1], [3, 3], [4, 4], [2, 3]),
    groups: fc.constantFrom(1, 2),
    inputs: small,
    outputs: small,
    stride: small,
    dilation: fc.constantFrom(1, 2),
    padding: fc.constantFrom(0, 1),
    outputPadding: fc.constantFrom(0, 1, 2),
  })
  .filter(({ stride, outputPadding }) => outputPadding < stride)
  .filter(
    ({ size, kernel, stride, dilation, padding, outputPadding }) =>
      Math.min(
        ...size.map((n, i) => (n - 1) * stride + dilation * (kernel[i]! - 1) + outputPadding),
      ) >=
      2 * padding,
  )
  .map(({ n, size, kernel, inputs, outputs, ...options }) => ({
    shapes: [
      [n, options.groups * inputs, ...size],
      [options.groups * inputs, outputs, ...kernel],
      [options.groups * outputs],
    ],
    options,
  }));

const pooling = fc
  .record({
    n: small,
    c: small,
    size: fc.tuple(side, side),
    window: fc.oneof(small, fc.tuple(small, small) as fc.Arbitrary<Pair>),
    stride: fc.option(fc.oneof(small, fc.tuple(small, small) as fc.Arbitrary<Pair>), {
      nil: undefined,
    }),
    padding: fc.constantFrom<number | Sides>(0, 1, [0, 1, 1, 0]),
    flag: fc.boolean(),
  })
  .filter(({ window, padding }) => padding === 0 || Math.min(...[window].flat()) > 1)
  .map(({ n, c, size, window, stride, ...options }) => ({
    shapes: [[n, c, ...size]],
    options: { window, ...options, ...(stride && { stride }) },
  }));

const images = fc
  .tuple(small, small, length, length)
  .map((x) => ({ shapes: [x], options: undefined }));

export const convolutions: readonly Operation[] = [
  operation({
    name: "conv2d",
    kernels: ["Conv2d"],
    draw: convolution,
    call: ([x, weight, bias], { stride, padding, dilation, groups }) =>
      conv2d(x!, weight!, { bias, stride, padding, dilation, groups }),
  }),
  operation({
    name: "convTranspose2d",
    kernels: ["Conv2dInputGradient", "Conv2dWeightGradient"],
    draw: transposed,
    call: ([x, weight, bias], options) => convTranspose2d(x!, weight!, { bias, ...options }),
  }),
  operation({
    name: "maxPool2d",
    kernels: ["MaxPool2d", "MaxPool2dIndices"],
    draw: pooling,
    domain: distinct,
    call: ([x], { window, flag, ...options }) => maxPool2d(x!, window, { ...options, ceil: flag }),
    note: "of equal maxima the first has the gradient; NaN may be passed over",
  }),
  operation({
    name: "averagePool2d",
    kernels: ["AveragePool2d"],
    draw: pooling,
    call: ([x], { window, flag, ...options }) =>
      averagePool2d(x!, window, { ...options, includePadding: flag }),
  }),
  operation({
    name: "upsampleNearest2x",
    kernels: ["UpsampleNearest"],
    draw: images,
    call: ([x]) => upsampleNearest2x(x!),
  }),
  operation({
    name: "upsampleConv2d",
    kernels: ["Conv2d"],
    draw: fc.tuple(small, small, small, length, length).map(([n, c, o, h, w]) => ({
      shapes: [[n, c, h, w], [o, c, 3, 3], [o]],
      options: undefined,
    })),
    call: ([x, weight, bias]) => upsampleConv2d(x!, weight!, bias),
  }),
  operation({
    name: "resizeBilinear2d",
    kernels: ["ResizeBilinear2d"],
    draw: fc
      .record({
        x: fc.tuple(small, small, length, length),
        size: fc.tuple(length, length),
        coordinates: fc.constantFrom("half-pixel", "align-corners", "asymmetric"),
      })
      .map(({ x, ...options }) => ({ shapes: [x], options })),
    call: ([x], { size, coordinates }) => resizeBilinear2d(x!, size, { coordinates }),
  }),
];
