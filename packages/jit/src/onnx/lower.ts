import { CONSTANT, FILL, type Graph, type Value } from "../graph/graph.ts";
import {
  type Lowering as GraphLowering,
  type LoweringTable as GraphLoweringTable,
  lowerNodes,
} from "../graph/lowering.ts";
import {
  createOnnxBuilder,
  type ExternalData,
  type LoweringTarget,
  type OnnxBuilder,
} from "./builder.ts";
import { elementwise } from "./elementwise.ts";
import { fused } from "./fused.ts";
import { indexing } from "./indexing.ts";
import { quantizedLinear } from "./quantized-linear.ts";
import { reductions } from "./reductions.ts";
import { schedule } from "./schedule.ts";
import { shapes } from "./shapes.ts";

export type Lowering = GraphLowering<OnnxBuilder>;
export type LoweringTable = GraphLoweringTable<OnnxBuilder>;

const constants: LoweringTable = {
  [CONSTANT]: ({ attributes, outputs }, _, builder) =>
    builder.constant(attributes.data as Float32Array, outputs[0]!),
  // A scalar broadcasts by itself; what still has a shape here is needed in full.
  [FILL]: ({ attributes, outputs: [output] }, _, builder) => {
    const scalar = builder.scalar(attributes.value as number, output!.dtype);
    return output!.shape.length === 0
      ? scalar
      : builder.add("Expand", [scalar, builder.ints(output!.shape)]);
  },
};

/** Every operation that can be written as ONNX. */
export const lowerings: LoweringTable = {
  ...constants,
  ...elementwise,
  ...reductions,
  ...shapes,
  ...indexing,
  ...fused,
  ...quantizedLinear,
};

/** What an ONNX file is for. */
export interface OnnxTarget extends Partial<LoweringTarget> {
  /** Inputs that lie in other files instead. */
  readonly external?: ReadonlyMap<string, ExternalData> | undefined;
}

/**
 * The bytes of an ONNX model that computes the graph, with inputs and outputs under their names.
 *
 * @param target layouts of the engine to make use of; a file for any engine by default
 */
export function lowerToOnnx(graph: Graph, { external, ...target }: OnnxTarget = {}): Uint8Array {
  const builder = createOnnxBuilder(target);
  const names = new Map<Value, string>();
  for (const { name, value } of graph.inputs) {
    const data = external?.get(name);
    if (data) builder.external(name, value, data);
    else builder.input(name, value);
    names.set(value, name);
  }
  for (const { name, value } of graph.outputs) builder.output(name, value);
  for (const { node, outputs } of schedule(graph)) {
    if (node) lowerNodes([node], names, { table: lowerings, builder, format: "ONNX" });
    for (const { name, value } of outputs) builder.fillOutput(name, names.get(value)!);
  }
  return builder.finish();
}
