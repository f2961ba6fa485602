/** tfjs's own fused kernels, taken apart: the passes of the compiler and of the engine put together what is fast. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { type Compose, defineReplacement } from "../trace/kernel.ts";

/** Names of tfjs's `fused` functions for what follows. */
const activations: Readonly<
  Record<string, (x: Tensor, alpha: Tensor | undefined, slope: number) => Tensor>
> = {
  linear: (x) => x,
  relu: (x) => tf.relu(x),
  relu6: (x) => tf.relu6(x),
  elu: (x) => tf.elu(x),
  sigmoid: (x) => tf.sigmoid(x),
  prelu: (x, alpha) => tf.prelu(x, alpha!),
  leakyrelu: (x, _, slope) => tf.leakyRelu(x, slope),
};

/** A product, then a bias and an activation, where they are given. Gradients are tfjs's own. */
function defineFused(kernel: string, apply: Compose): void {
  defineReplacement(kernel, (inputs, attributes) => {
    const { bias, preluActivationWeights } = inputs;
    const { activation, leakyreluAlpha } = attributes as {
      activation?: string;
      leakyreluAlpha?: number;
    };
    const product = apply(inputs, attributes);
    // In NCHW a vector belongs to the channels, too.
    const ofChannels = (x: Tensor | undefined) =>
      x && attributes.dataFormat === "NCHW" && x.rank === 1 ? tf.reshape(x, [-1, 1, 1]) : x;
    const shift = ofChannels(bias);
    const y = shift ? tf.add(product, shift) : product;
    const activate = activations[activation ?? "linear"]!;
    return activate(y, ofChannels(preluActivationWeights), leakyreluAlpha ?? 0.2);
  });
}

defineFused("_FusedMatMul", ({ a, b }, { transposeA, transposeB }) =>
  tf.matMul(a!, b!, transposeA as boolean, transposeB as boolean),
);
const unfused =
  (kernel: string): Compose =>
  ({ x, filter }, { strides, pad, dataFormat, dilations, dimRoundingMode }: Attributes) =>
    tf.engine().runKernel(kernel, { x: x!, filter: filter! }, {
      strides,
      pad,
      dataFormat,
      dilations,
      dimRoundingMode,
    } as never) as Tensor;
defineFused("FusedConv2D", unfused("Conv2D"));
defineFused("FusedDepthwiseConv2D", unfused("DepthwiseConv2dNative"));
