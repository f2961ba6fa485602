/**
 * int8 inference: linear layers whose weights are bound multiply whole numbers.
 *
 * Weights get one scale an output channel, once. Activations get one scale a row (a token), at every run: with
 * one for all tokens, the features of a real ViT-Tiny have a mean cosine of 0.94 to those of float32.
 */
import { type NdArray, sizeOf } from "@aligntok/core";
import {
  countUses,
  type Graph,
  type Node,
  producersOf,
  rewrite,
  type Value,
} from "../graph/graph.ts";

type Floats = NdArray<"float32">;

/** Which of the 256 steps of a row is 0, and where the numbers end below. */
export interface RowRange {
  readonly zero: number;
  /** The smallest number that there can be; without it, the row reaches as far below 0 as above. */
  readonly minimum?: number;
}

/** The attributes of `QuantizedLinear`, whose only input is x: `x weight^T factor + bias factor`. */
export interface QuantizedLinear {
  readonly rows: RowRange;
  /** (out, in), in float32: the engine's lowering makes whole numbers of it. */
  readonly weight: Floats;
  /** (out) */
  readonly bias?: Floats | undefined;
  /** (out) */
  readonly factor?: Floats;
}

/** Weights of fewer elements stay float32: quantising the rows would cost what it saves. */
const smallest = 64 * 64;

/** Operations that make no number far below 0 leave most of the steps to those above. */
const ranges: Readonly<Record<string, RowRange>> = {
  Gelu: { zero: 24, minimum: -0.1701 }, // -0.16997, and -0.17004 in its tanh form
  Relu: { zero: 0, minimum: 0 },
};

/** `Linear` with bound weights becomes `QuantizedLinear`, together with a bound factor such as LayerScale. */
export function quantize(graph: Graph): Graph {
  const uses = countUses(graph);
  const producers = producersOf(graph.nodes);
  const arrays = new Map(
    graph.inputs.map(({ value, array }) => [value, array as Floats | undefined]),
  );
  const layers = new Map<Value, Node>();

  function quantizedLayer({ op, inputs: [x, matrix, vector], outputs }: Node): Node | undefined {
    const [weight, bias] = [matrix, vector].map((value) => value && arrays.get(value));
    if (op !== "Linear" || !weight || sizeOf(weight.shape) < smallest) return undefined;
    if (vector && !bias) return undefined;
    const rows = ranges[producers.get(x!)?.op ?? ""] ?? { zero: 128 };
    return layerOf(x!, { rows, weight, bias }, outputs[0]!);
  }

  function scaledLayer({ op, inputs: [a, b], outputs }: Node): Node | undefined {
    if (op !== "Multiply") return undefined;
    for (const [x, y] of [
      [a!, b!],
      [b!, a!],
    ] as const) {
      const layer = uses.get(x) === 1 ? layers.get(x) : undefined;
      const factor = arrays.get(y);
      if (!layer || factor?.shape.join() !== String(x.shape.at(-1))) continue;
      const attributes = layer.attributes as unknown as QuantizedLinear;
      if (!attributes.factor)
        return layerOf(layer.inputs[0]!, { ...attributes, factor }, outputs[0]!);
    }
    return undefined;
  }

  return rewrite(graph, (node, emit) => {
    const layer = quantizedLayer(node) ?? scaledLayer(node);
    if (!layer) return undefined;
    emit(layer);
    layers.set(layer.outputs[0]!, layer);
    uses.set(layer.outputs[0]!, uses.get(node.outputs[0]!) ?? 0);
    return layer.outputs;
  });
}

function layerOf(x: Value, attributes: QuantizedLinear, { shape, dtype }: Value): Node {
  return {
    op: "QuantizedLinear",
    inputs: [x],
    attributes: { ...attributes },
    outputs: [{ shape, dtype }],
  };
}
