import type { Tensor } from "@tensorflow/tfjs-core";
import { type Graph, type Node, rewrite, type Value } from "../graph/graph.ts";
import { primitives } from "../primitives/primitive.ts";
import { trace } from "../trace/trace.ts";

/**
 * Primitives that an engine has no operation for, as the plain operations of their reference.
 *
 * @param has whether the engine has an operation for a node
 */
export function expandPrimitives(graph: Graph, has: (node: Node) => boolean): Graph {
  return rewrite(graph, (node, emit) => {
    const primitive = has(node) ? undefined : primitives.get(node.op);
    if (!primitive) return undefined;
    const given: Record<string, Value> = {};
    for (const [i, name] of primitive.inputs.entries()) {
      const value = node.inputs[i];
      if (value) given[name.replace("?", "")] = value;
    }
    const { graph: traced } = trace(
      (inputs: Record<string, Tensor>) => [primitive.reference(inputs, node.attributes)].flat(),
      given,
    );
    const inner = expandPrimitives(traced, has);
    const outer = new Map(inner.inputs.map(({ name, value }) => [value, given[name]!]));
    const current = (value: Value) => outer.get(value) ?? value;
    for (const made of inner.nodes) {
      emit({ ...made, inputs: made.inputs.map((value) => value && current(value)) });
    }
    return inner.outputs.map(({ value }) => current(value));
  });
}
