/** tfjs's operations on images, in its own layout (N, H, W, C). */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { distinct, length, type Operation, operation, positive } from "./operation.ts";

type Image = tf.Tensor4D;
type Padding = "same" | "valid" | number;
type Pair = [number, number];

const small = fc.constantFrom(1, 2, 3);
const pairs = fc.constantFrom<Pair>([1, 1], [2, 2], [3, 3], [1, 2], [3, 1]);

const convolution = fc
  .record({
    n: small,
    size: fc.tuple(fc.integer({ min: 3, max: 8 }), fc.integer({ min: 3, max: 8 })),
    kernel: fc.tuple(small, small),
    inputs: small,
    outputs: small,
    strides: pairs,
    dilation: fc.constantFrom(1, 1, 2),
    padding: fc.constantFrom<Padding>("same", "valid", 1),
  })
  // tfjs takes one or the other; the kernel has to fit.
  .filter(({ strides, dilation }) => dilation === 1 || Math.max(...strides) === 1)
  .filter(({ size, kernel, dilation, padding }) =>
    size.every((n, i) => padding !== "valid" || dilation * (kernel[i]! - 1) < n),
  )
  .map(({ n, size, kernel, inputs, outputs, ...options }) => ({
    shapes: [
      [n, ...size, inputs],
      [...kernel, inputs, outputs],
    ],
    options,
  }));

const pooling = fc
  .record({
    n: small,
    size: fc.tuple(fc.integer({ min: 3, max: 8 }), fc.integer({ min: 3, max: 8 })),
    c: small,
    window: fc.tuple(small, small) as fc.Arbitrary<Pair>,
    strides: pairs,
    padding: fc.constantFrom<"same" | "valid">("same", "valid"),
  })
  .map(({ n, size, c, ...options }) => ({ shapes: [[n, ...size, c]], options }));

const resizing = fc
  .record({
    n: small,
    from: fc.tuple(length, length),
    c: small,
    size: fc.tuple(length, length) as fc.Arbitrary<Pair>,
    mode: fc.constantFrom("asymmetric", "align corners", "half pixel"),
  })
  .map(({ n, from, c, ...options }) => ({ shapes: [[n, ...from, c]], options }));

const blocks = fc
  .record({ n: small, rows: small, columns: small, c: small, block: fc.constantFrom(2, 3) })
  .map(({ n, rows, columns, c, block }) => ({
    shapes: [[n, rows, columns, c * block ** 2]],
    options: { block },
  }));

/** A fused convolution with a bias and each activation. */
const fusedConvolution = (
  name: string,
  kernel: string,
  { call, gradient }: { call: typeof tf.fused.conv2d; gradient: boolean },
) =>
  operation({
    name: `tf.fused.${name}${gradient ? "" : " without gradient"}`,
    kernels: [kernel],
    draw: fc
      .tuple(small, small, fc.constantFrom("linear", "relu", "elu", "prelu"))
      .map(([n, c, activation]) => ({
        shapes: [
          [n, 4, 5, c],
          [3, 2, c, 2],
          [name === "conv2d" ? 2 : 2 * c],
          [name === "conv2d" ? 2 : 2 * c],
        ],
        options: { activation: activation as "relu" },
      })),
    // Far from the corners of the activations.
    domain: [{}, {}, { map: (x) => 40 * Math.sign(x) }, {}],
    ...(!gradient && { gradient }),
    call: ([x, filter, bias, alpha], { activation }) =>
      call({
        x: x as Image,
        filter: filter as Image,
        strides: 1,
        pad: "same",
        bias: bias!,
        activation,
        ...(activation === ("prelu" as string) && { preluActivationWeights: alpha! }),
      }),
  });

/** The kernels that only tfjs's own gradients call. */
const backward = (
  name: string,
  call: (x: Tensor, dy: Tensor) => Tensor,
  { draw, ...rest }: Partial<Operation>,
) =>
  operation({
    name,
    kernels: [name],
    draw: draw!,
    ...rest,
    call: ([x, dy]) => call(x!, dy!),
    gradient: false,
  });

const run = (kernel: string, inputs: Record<string, Tensor>, attributes: object) =>
  tf.engine().runKernel(kernel, inputs, attributes as never) as Tensor;

const batch = fc.tuple(small, small, small, small);

export const images: readonly Operation[] = [
  operation({
    name: "tf.conv2d",
    kernels: ["Conv2D"],
    draw: convolution,
    call: ([x, filter], { strides, padding, dilation }) =>
      tf.conv2d(x as Image, filter as Image, strides, padding, "NHWC", dilation),
  }),
  operation({
    name: "tf.conv1d",
    kernels: ["Conv2D"],
    draw: fc.tuple(small, length).map(([c, n]) => ({
      shapes: [
        [2, n + 2, c],
        [3, c, 2],
      ],
      options: undefined,
    })),
    call: ([x, filter]) => tf.conv1d(x as tf.Tensor3D, filter as tf.Tensor3D, 1, "same"),
  }),
  operation({
    name: "tf.conv2dTranspose",
    kernels: ["Conv2DBackpropInput"],
    draw: convolution
      .filter(({ options: { dilation, padding } }) => dilation === 1 && padding !== 1)
      .map(({ shapes: [x, filter], options: { strides, padding } }) => {
        const to = [1, 2].map((axis) =>
          padding === "same"
            ? x![axis]! * strides[axis - 1]!
            : (x![axis]! - 1) * strides[axis - 1]! + filter![axis - 1]!,
        );
        const [, , inputs, outputs] = filter as [number, number, number, number];
        return {
          shapes: [
            [...x!.slice(0, 3), outputs],
            [...filter!.slice(0, 2), inputs, outputs],
          ],
          options: {
            strides,
            padding,
            shape: [x![0]!, ...to, inputs] as [number, number, number, number],
          },
        };
      }),
    call: ([x, filter], { strides, padding, shape }) =>
      tf.conv2dTranspose(x as Image, filter as Image, shape, strides, padding),
  }),
  operation({
    name: "tf.depthwiseConv2d",
    kernels: ["DepthwiseConv2dNative"],
    draw: convolution,
    call: ([x, filter], { strides, padding, dilation }) =>
      tf.depthwiseConv2d(x as Image, filter as Image, strides, padding, "NHWC", dilation),
  }),
  operation({
    name: "tf.separableConv2d",
    kernels: ["DepthwiseConv2dNative", "Conv2D"],
    draw: small.map((c) => ({
      shapes: [
        [2, 4, 5, c],
        [3, 3, c, 2],
        [1, 1, 2 * c, 3],
      ],
      options: undefined,
    })),
    call: ([x, depth, point]) =>
      tf.separableConv2d(x as Image, depth as Image, point as Image, 1, "same"),
  }),
  // With a gradient tfjs takes them apart itself, where the activation is not linear.
  ...[true, false].flatMap((gradient) => {
    const depthwise = tf.fused.depthwiseConv2d as typeof tf.fused.conv2d;
    return [
      fusedConvolution("conv2d", "FusedConv2D", { call: tf.fused.conv2d, gradient }),
      fusedConvolution("depthwiseConv2d", "FusedDepthwiseConv2D", { call: depthwise, gradient }),
    ];
  }),
  operation({
    name: "tf.maxPool",
    kernels: ["MaxPool"],
    draw: pooling,
    domain: distinct,
    call: ([x], { window, strides, padding }) => tf.maxPool(x as Image, window, strides, padding),
    note: "NaN may be passed over",
  }),
  operation({
    name: "tf.avgPool",
    kernels: ["AvgPool"],
    draw: pooling,
    call: ([x], { window, strides, padding }) => tf.avgPool(x as Image, window, strides, padding),
  }),
  operation({
    name: "tf.pool with dilation",
    kernels: ["SpaceToBatchND", "BatchToSpaceND"],
    draw: small.map((c) => ({ shapes: [[1, 7, 5, c]], options: undefined })),
    domain: distinct,
    call: ([x]) => tf.pool(x as Image, [2, 2], "max", "valid", [2, 2], 1),
  }),
  ...(["resizeBilinear", "resizeNearestNeighbor"] as const).map((name) => {
    const call =
      name === "resizeBilinear" ? tf.image.resizeBilinear : tf.image.resizeNearestNeighbor;
    return operation({
      name: `tf.image.${name}`,
      kernels: [`R${name.slice(1)}`],
      draw: resizing,
      call: ([x], { size, mode }) =>
        call(x as Image, size, mode === "align corners", mode === "half pixel"),
    });
  }),
  operation({
    name: "tf.image.flipLeftRight",
    kernels: ["FlipLeftRight"],
    draw: batch.map((x) => ({ shapes: [x], options: undefined })),
    call: ([x]) => tf.image.flipLeftRight(x as Image),
  }),
  operation({
    name: "tf.batchNorm",
    kernels: ["FusedBatchNorm"],
    draw: batch.map((x) => {
      const c = [x[3]];
      return { shapes: [x, c, c, c, c], options: undefined };
    }),
    domain: [{}, {}, positive, {}, {}],
    call: ([x, mean, variance, offset, scale]) =>
      tf.batchNorm(
        x!,
        mean as tf.Tensor1D,
        variance as tf.Tensor1D,
        offset as tf.Tensor1D,
        scale as tf.Tensor1D,
      ),
    note: "a gradient needs offset and scale",
  }),
  operation({
    name: "tf.depthToSpace",
    kernels: ["DepthToSpace"],
    draw: blocks,
    call: ([x], { block }) => tf.depthToSpace(x as Image, block, "NHWC"),
  }),
  operation({
    name: "tf.spaceToBatchND",
    kernels: ["SpaceToBatchND"],
    draw: batch.map(([n, rows, columns, c]) => ({
      shapes: [[n, 2 * rows - 1, 3 * columns, c]],
      options: undefined,
    })),
    call: ([x]) =>
      tf.spaceToBatchND(
        x!,
        [2, 3],
        [
          [1, 0],
          [0, 0],
        ],
      ),
  }),
  operation({
    name: "tf.batchToSpaceND",
    kernels: ["BatchToSpaceND"],
    draw: batch.map(([n, rows, columns, c]) => ({
      shapes: [[6 * n, rows, columns, c]],
      options: undefined,
    })),
    call: ([x]) =>
      tf.batchToSpaceND(
        x!,
        [2, 3],
        [
          [1, 0],
          [0, 1],
        ],
      ),
  }),
  backward(
    "MaxPoolGrad",
    (input, dy) => {
      const attributes = { filterSize: [2, 3], strides: [2, 1], pad: "same" };
      const output = run("MaxPool", { x: input }, attributes);
      return run("MaxPoolGrad", { dy, input, output }, attributes);
    },
    {
      draw: small.map((c) => ({
        shapes: [
          [2, 5, 4, c],
          [2, 3, 4, c],
        ],
        options: undefined,
      })),
      domain: distinct,
    },
  ),
  backward(
    "AvgPoolGrad",
    (input, dy) =>
      run("AvgPoolGrad", { dy, input }, { filterSize: [2, 3], strides: [2, 1], pad: "valid" }),
    {
      draw: small.map((c) => ({
        shapes: [
          [2, 5, 4, c],
          [2, 2, 2, c],
        ],
        options: undefined,
      })),
    },
  ),
  // One square, and the nearest by whole factors: tfjs's CPU backend is wrong elsewhere.
  ...[
    ["ResizeBilinearGrad", true, [7, 3]] as const,
    ["ResizeNearestNeighborGrad", false, [10, 15]] as const,
  ].map(([name, alignCorners, to]) =>
    backward(name, (images, dy) => run(name, { images, dy }, { alignCorners }), {
      draw: small.map((c) => ({
        shapes: [
          [1, 5, 5, c],
          [1, ...to, c],
        ],
        options: undefined,
      })),
    }),
  ),
  backward(
    "Conv2DBackpropFilter",
    (x, dy) =>
      run(
        "Conv2DBackpropFilter",
        { x, dy },
        {
          strides: 2,
          pad: "same",
          dataFormat: "NHWC",
          filterShape: [3, 2, x.shape[3], 2],
        },
      ),
    {
      draw: small.map((c) => ({
        shapes: [
          [2, 5, 4, c],
          [2, 3, 2, 2],
        ],
        options: undefined,
      })),
    },
  ),
  ...["Input", "Filter"].map((of) =>
    operation({
      name: `DepthwiseConv2dNativeBackprop${of}`,
      kernels: [`DepthwiseConv2dNativeBackprop${of}`],
      draw: small.map((c) => ({
        shapes: [
          [2, 5, 4, c],
          [2, 3, 2, 2 * c],
          [3, 2, c, 2],
        ],
        options: undefined,
      })),
      call: ([x, dy, filter]) =>
        run(
          `DepthwiseConv2dNativeBackprop${of}`,
          of === "Input" ? { dy: dy!, filter: filter! } : { x: x!, dy: dy! },
          {
            strides: 2,
            pad: "same",
            dilations: 1,
            inputShape: x!.shape,
            filterShape: filter!.shape,
          },
        ),
      gradient: false,
    }),
  ),
];
