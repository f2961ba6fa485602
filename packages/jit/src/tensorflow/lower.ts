import { CONSTANT, FILL, type Graph, type Value } from "../graph/graph.ts";
import {
  type Lowering as GraphLowering,
  type LoweringTable as GraphLoweringTable,
  lowerNodes,
} from "../graph/lowering.ts";
import { expandPrimitives } from "../passes/expand.ts";
import { optimize } from "../passes/index.ts";
import type { TensorFlowBuilder } from "./builder.ts";
import { convolutions } from "./conv.ts";
import { elementwise } from "./elementwise.ts";
import { images } from "./images.ts";
import { indexing } from "./indexing.ts";
import { hasLayout, toChannelsLast } from "./layout.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

export type Lowering = GraphLowering<TensorFlowBuilder>;
export type LoweringTable = GraphLoweringTable<TensorFlowBuilder>;

const constants: LoweringTable = {
  [CONSTANT]: ({ attributes, outputs }, _, builder) =>
    builder.constant(attributes.data as Float32Array, outputs[0]!),
  // A scalar broadcasts by itself; what still has a shape here is needed in full.
  [FILL]: ({ attributes, outputs: [output] }, _, builder) => {
    const scalar = builder.scalar(attributes.value as number, output!.dtype);
    if (output!.shape.length === 0) return scalar;
    const dims = builder.ints(output!.shape);
    return builder.add(
      "Fill",
      [dims, scalar],
      { T: { type: output!.dtype } },
      { dtype: output!.dtype },
    );
  },
};

/** Every operation that can be written for TensorFlow; primitives that are not here run as their reference. */
const lowerings: LoweringTable = {
  ...constants,
  ...elementwise,
  ...reductions,
  ...shapes,
  ...indexing,
  ...products,
  ...convolutions,
  ...images,
};

/** The graph as TensorFlow is given it: primitives that it lacks expanded, images with channels last. */
export function prepareForTensorFlow(graph: Graph): Graph {
  const expanded = expandPrimitives(graph, (node) => node.op in lowerings || hasLayout(node));
  return optimize(toChannelsLast(expanded));
}

/** Writes the nodes of a prepared graph; `names` has the inputs, and gets everything else. */
export function writeNodes(
  graph: Graph,
  names: Map<Value, string>,
  builder: TensorFlowBuilder,
): void {
  lowerNodes(graph.nodes, names, { table: lowerings, builder, format: "TensorFlow" });
}
