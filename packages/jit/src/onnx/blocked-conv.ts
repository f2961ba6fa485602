/**
 * Convolution in the layout that ONNX Runtime's own optimiser chooses where weights are constants: channels in
 * blocks of as many as a vector register holds, (N, C / b, H, W, b), which its direct kernels run a sixth faster than
 * the matrix products of the usual layout. The optimiser leaves weights alone that are inputs of the graph, as they
 * are here, so the change of layout is written out.
 */
import { sizeOf } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import { NCHWC, type OnnxBuilder } from "./builder.ts";

/** Below, changing the layout of the weights costs more than the convolution gains. */
const leastPixels = 1024;

interface ConvNode {
  /** x, weight and maybe bias. */
  readonly inputs: readonly (string | undefined)[];
  /** (O, I, kh, kw) */
  readonly weight: readonly number[];
  /** (N, O, H', W') */
  readonly output: Value;
  readonly attributes: {
    readonly group: number;
    readonly kernel_shape: readonly number[];
    readonly strides: readonly number[];
    readonly pads: readonly number[];
    readonly dilations: readonly number[];
  };
}

/** `Conv`, in blocks where the engine has them and they are quicker. */
export function addConv(node: ConvNode, builder: OnnxBuilder): string {
  const { inputs, weight, output, attributes } = node;
  const [o, i, kh, kw] = weight as [number, number, number, number];
  const block = builder.channelBlock;
  const [n, , h, w] = output.shape as [number, number, number, number];
  const fits = block > 0 && o % block === 0 && i % block === 0 && attributes.group === 1;
  if (!fits || kh * kw === 1 || n * h * w < leastPixels) {
    return builder.add("Conv", inputs, attributes);
  }
  const [x, matrix, ...bias] = inputs;
  const domain = { domain: NCHWC };
  const image = builder.add("ReorderInput", [x], {}, domain);
  const filter = blockedFilter(matrix!, { o, i, taps: kh * kw, block }, builder);
  const shaped = builder.add("Reshape", [filter, builder.ints(weight)]);
  const made = builder.add("Conv", [image, shaped, ...bias], attributes, domain);
  return builder.add("ReorderOutput", [made], { channels: o }, domain);
}

/** (O, I, taps) to (O / b, I / b, taps, b of I, b of O), in two transpositions that move whole runs of memory. */
function blockedFilter(
  weight: string,
  { o, i, taps, block }: Readonly<Record<"o" | "i" | "taps" | "block", number>>,
  builder: OnnxBuilder,
): string {
  const rows = builder.add("Reshape", [weight, builder.ints([o / block, block, i * taps])]);
  const outputsLast = builder.add("Transpose", [rows], { perm: [0, 2, 1] });
  const shape = [sizeOf([o, i]) / block ** 2, block, taps, block];
  const split = builder.add("Reshape", [outputsLast, builder.ints(shape)]);
  return builder.add("Transpose", [split], { perm: [0, 2, 1, 3] });
}
