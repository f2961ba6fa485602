import { AlignTokError } from "@aligntok/core";
import type { Node, Value } from "./graph.ts";

/** Writes one node for an engine: names of its inputs in, names of its outputs out. */
export type Lowering<Builder> = (
  node: Node,
  inputs: readonly string[],
  builder: Builder,
) => string | readonly string[];

export type LoweringTable<Builder> = Readonly<Record<string, Lowering<Builder>>>;

/**
 * Writes nodes in order; `names` has the inputs of the graph, and gets everything else.
 *
 * @throws AlignTokError `unsupported` for an operation that the table of the format lacks.
 */
export function lowerNodes<Builder>(
  nodes: readonly Node[],
  names: Map<Value, string>,
  {
    table,
    builder,
    format,
  }: {
    readonly table: LoweringTable<Builder>;
    readonly builder: Builder;
    readonly format: string;
  },
): void {
  for (const node of nodes) {
    const lowering = table[node.op];
    if (!lowering) {
      throw new AlignTokError("unsupported", `operation ${node.op}: has no ${format} form`);
    }
    // An optional input that is absent has the empty name.
    const inputs = node.inputs.map((value) => (value ? (names.get(value) as string) : ""));
    const made = lowering(node, inputs, builder);
    const outputs = typeof made === "string" ? [made] : made;
    for (const [i, output] of node.outputs.entries()) names.set(output, outputs[i]!);
  }
}
