import type { Graph, Node, Value } from "../graph/graph.ts";
import { rewrite } from "../graph/graph.ts";

const NHWC = [0, 2, 3, 1];
const NCHW = [0, 3, 1, 2];
const HWIO = [2, 3, 1, 0];
const OIHW = [3, 2, 0, 1];

/** How the inputs and the output of an operation on images are transposed for TensorFlow. */
const layouts: Readonly<
  Record<string, { inputs: readonly (readonly number[])[]; output: readonly number[] }>
> = {
  Conv2d: { inputs: [NHWC, HWIO], output: NCHW },
  Conv2dInputGradient: { inputs: [NHWC, HWIO], output: NCHW },
  Conv2dWeightGradient: { inputs: [NHWC, NHWC], output: OIHW },
  MaxPool2d: { inputs: [NHWC], output: NCHW },
  AveragePool2d: { inputs: [NHWC], output: NCHW },
  UpsampleNearest: { inputs: [NHWC], output: NCHW },
  ResizeBilinear2d: { inputs: [NHWC], output: NCHW },
};

/** Whether an operation has a form with channels last. */
export function hasLayout({ op, attributes }: Node): boolean {
  // TensorFlow pads a mean by its own rules only.
  const padded = (attributes.padding as number[] | undefined)?.some((pad) => pad > 0);
  return op in layouts && !(op === "AveragePool2d" && padded);
}

/** Writes what works on images (N, C, H, W) as the same on (N, H, W, C), between transposes. */
export function toChannelsLast(graph: Graph): Graph {
  return rewrite(graph, (node, emit) => {
    const layout = hasLayout(node) ? layouts[node.op] : undefined;
    if (!layout) return undefined;
    const transpose = (x: Value, perm: readonly number[]) => {
      const output = { shape: perm.map((axis) => x.shape[axis]!), dtype: x.dtype };
      emit({ op: "Transpose", inputs: [x], attributes: { perm }, outputs: [output] });
      return output;
    };
    const inputs = node.inputs.map((x, i) => {
      const perm = layout.inputs[i];
      return x && perm ? transpose(x, perm) : x;
    });
    const back = layout.output;
    const y = node.outputs[0]!;
    const shape = y.shape.map((_, i) => y.shape[back.indexOf(i)]!);
    const made: Node = {
      op: `Nhwc${node.op}`,
      inputs,
      attributes: node.attributes,
      outputs: [{ shape, dtype: y.dtype }],
    };
    emit(made);
    return [transpose(made.outputs[0]!, back)];
  });
}
