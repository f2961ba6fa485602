import { sizeOf } from "@aligntok/core";
import { FILL, type Graph, type Node, producersOf, rewrite, type Value } from "../graph/graph.ts";

/**
 * Algebra that needs no more than a node and those before it: constants folded, scalars kept scalar,
 * x + 0, x * 1 and their like removed, chains of reshapes and transposes joined, broadcasts left to the
 * operations that broadcast by themselves.
 */
export function simplify(graph: Graph): Graph {
  const producers = producersOf(graph.nodes);
  return rewrite(graph, (node, emit) => {
    for (const output of node.outputs) producers.set(output, node);
    const make = (made: Node): readonly Value[] => {
      for (const output of made.outputs) producers.set(output, made);
      emit(made);
      return made.outputs;
    };
    const before = (value: Value | undefined, op: string) => {
      const producer = value && producers.get(value);
      return producer?.op === op ? producer : undefined;
    };
    const fillOf = (value: Value | undefined) =>
      before(value, FILL)?.attributes.value as number | undefined;
    const fill = (value: number) => make(filled(value, node.outputs[0]!));

    for (const rule of rules) {
      const stand = rule(node, { make, before, fillOf, fill });
      if (stand) return stand;
    }
    return undefined;
  });
}

interface Context {
  /** Adds a node and gives its outputs. */
  readonly make: (node: Node) => readonly Value[];
  /** The node that makes a value, if it is of this operation. */
  readonly before: (value: Value | undefined, op: string) => Node | undefined;
  /** The number a value is everywhere, if it is. */
  readonly fillOf: (value: Value | undefined) => number | undefined;
  /** The node's output as a constant. */
  readonly fill: (value: number) => readonly Value[];
}

type Rule = (node: Node, context: Context) => readonly Value[] | undefined;

const filled = (value: number, like: Value): Node => ({
  op: FILL,
  inputs: [],
  attributes: { value },
  outputs: [{ shape: like.shape, dtype: like.dtype }],
});

const sameShape = (a: Value | undefined, b: Value | undefined) =>
  a?.shape.join() === b?.shape.join();

const unary: Readonly<Record<string, (x: number) => number>> = {
  Neg: (x) => -x,
  Square: (x) => x * x,
  Sqrt: Math.sqrt,
  Rsqrt: (x) => 1 / Math.sqrt(x),
  Reciprocal: (x) => 1 / x,
  Exp: Math.exp,
  Abs: Math.abs,
};

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Multiply: (a, b) => a * b,
  RealDiv: (a, b) => a / b,
  Maximum: Math.max,
  Minimum: Math.min,
};

const broadcasts = new Set([
  ...Object.keys(binary),
  "Pow",
  "SquaredDifference",
  "Select",
  "Equal",
  "NotEqual",
  "Greater",
  "GreaterEqual",
  "Less",
  "LessEqual",
]);

const foldConstants: Rule = ({ op, inputs: [a, b], outputs: [y] }, { fillOf, fill }) => {
  const [x, z] = [fillOf(a), fillOf(b)];
  if (op === "ZerosLike") return fill(0);
  if (op === "OnesLike") return fill(1);
  if (x !== undefined && unary[op]) return fill(unary[op](x));
  if (x !== undefined && z !== undefined && binary[op] && y!.dtype === "float32") {
    return fill(Math.fround(binary[op](x, z)));
  }
  if (
    x !== undefined &&
    ["Reshape", "ExpandDims", "Transpose", "Tile", "Slice", "BroadcastTo"].includes(op)
  ) {
    return fill(x);
  }
  if (x !== undefined && op === "Cast") return fill(y!.dtype === "float32" ? x : Math.trunc(x));
  return undefined;
};

const dropNeutral: Rule = (
  { op, inputs: [a, b], outputs: [y], attributes },
  { fillOf, fill, make },
) => {
  const [x, z] = [fillOf(a), fillOf(b)];
  const keep = (value: Value | undefined) => (sameShape(value, y) ? [value!] : undefined);
  switch (op) {
    case "Add":
      return z === 0 ? keep(a) : x === 0 ? keep(b) : undefined;
    case "Sub":
      if (x === 0 && sameShape(b, y)) {
        return make({ op: "Neg", inputs: [b], attributes: {}, outputs: [{ ...y! }] });
      }
      return z === 0 ? keep(a) : undefined;
    case "Multiply":
      if (x === 0 || z === 0) return fill(0);
      return z === 1 ? keep(a) : x === 1 ? keep(b) : undefined;
    case "RealDiv":
      if (z === undefined) return undefined;
      if (z === 1) return keep(a);
      // A product is several times as fast as a quotient; the reciprocal must be exact to give the same bits.
      return Number.isInteger(Math.log2(Math.abs(z)))
        ? make({
            op: "Multiply",
            inputs: [a, make(filled(1 / z, { shape: [], dtype: "float32" }))[0]!],
            attributes: {},
            outputs: [{ ...y! }],
          })
        : undefined;
    case "Cast":
      return a!.dtype === y!.dtype ? [a!] : undefined;
    case "Transpose":
      return (attributes.perm as number[]).every((from, to) => from === to) ? [a!] : undefined;
    case "Reshape":
    case "ExpandDims":
    case "Slice":
      return keep(a);
    default:
      return undefined;
  }
};

/** Tile as tfjs uses it for broadcastTo: only dimensions of size 1 are repeated. */
const tileIsBroadcast: Rule = ({ op, inputs: [x], attributes, outputs: [y] }, { make }) => {
  if (op !== "Tile") return undefined;
  const reps = attributes.reps as number[];
  if (reps.every((count) => count === 1)) return [x!];
  if (!reps.every((count, i) => count === 1 || x!.shape[i] === 1)) return undefined;
  return make({ op: "BroadcastTo", inputs: [x], attributes: {}, outputs: [{ ...y! }] });
};

/** An operation that broadcasts takes what came before a broadcast, if its other inputs give the shape. */
const leaveBroadcast: Rule = (node, { before, fillOf, make }) => {
  if (!broadcasts.has(node.op)) return undefined;
  const [y] = node.outputs;
  const narrow = (value: Value | undefined): Value | undefined => {
    const number = fillOf(value);
    if (number !== undefined && value!.shape.length > 0) {
      return make(filled(number, { shape: [], dtype: value!.dtype }))[0];
    }
    return before(value, "BroadcastTo")?.inputs[0];
  };
  for (const [i, input] of node.inputs.entries()) {
    const others = node.inputs.filter((_, j) => j !== i);
    if (!others.some((other) => sameShape(other, y))) continue;
    const narrower = narrow(input);
    if (!narrower) continue;
    return make({
      ...node,
      inputs: node.inputs.map((other, j) => (j === i ? narrower : other)),
      outputs: [{ ...y! }],
    });
  }
  return undefined;
};

const joinMoves: Rule = (node, { before, make }) => {
  const { op, inputs, attributes, outputs } = node;
  if (op === "Reshape" || op === "ExpandDims") {
    const earlier = before(inputs[0], "Reshape") ?? before(inputs[0], "ExpandDims");
    if (!earlier) return undefined;
    if (sameShape(earlier.inputs[0], outputs[0])) return [earlier.inputs[0]!];
    return make({
      op: "Reshape",
      inputs: [earlier.inputs[0]],
      attributes: { shape: outputs[0]!.shape },
      outputs: [{ ...outputs[0]! }],
    });
  }
  if (op === "Transpose") {
    const earlier = before(inputs[0], "Transpose");
    if (!earlier) return undefined;
    const perm = (attributes.perm as number[]).map(
      (axis) => (earlier.attributes.perm as number[])[axis]!,
    );
    if (perm.every((from, to) => from === to)) return [earlier.inputs[0]!];
    return make({
      op,
      inputs: [earlier.inputs[0]],
      attributes: { perm },
      outputs: [{ ...outputs[0]! }],
    });
  }
  return undefined;
};

/** (x * a) * b with numbers a and b is one product. */
const joinScales: Rule = (node, { before, fillOf, make }) => {
  if (node.op !== "Multiply") return undefined;
  const [x, number] = scaleOf(node, fillOf) ?? [];
  const earlier = before(x, "Multiply");
  const [y, inner] = (earlier && scaleOf(earlier, fillOf)) ?? [];
  if (!y || number === undefined || inner === undefined || !sameShape(y, node.outputs[0]))
    return undefined;
  const [scale] = make(filled(number * inner, { shape: [], dtype: "float32" }));
  return make({
    op: "Multiply",
    inputs: [y, scale],
    attributes: {},
    outputs: [{ ...node.outputs[0]! }],
  });
};

/** A product with a number, as [the other factor, the number]. */
function scaleOf({ inputs: [a, b] }: Node, fillOf: Context["fillOf"]): [Value, number] | undefined {
  const [x, z] = [fillOf(a), fillOf(b)];
  if (z !== undefined && sizeOf(b!.shape) === 1) return [a!, z];
  if (x !== undefined && sizeOf(a!.shape) === 1) return [b!, x];
  return undefined;
}

const rules: readonly Rule[] = [
  foldConstants,
  dropNeutral,
  tileIsBroadcast,
  leaveBroadcast,
  joinMoves,
  joinScales,
];
