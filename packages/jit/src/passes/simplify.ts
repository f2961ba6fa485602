import { sizeOf } from "@aligntok/core";
import { FILL, type Graph, type Node, producersOf, rewrite, type Value } from "../graph/graph.ts";

/**
 * Algebra that needs no more than a node and those before it: constants folded, scalars kept scalar,
 * x + 0, x * 1 and their like removed, chains of reshapes and transposes joined, broadcasts left to the
 * operations that broadcast by themselves.
 *
 * Results are the same bits, with three exceptions that gradients are full of: `x * 0` is 0 even where x is
 * infinite or NaN, the sign of zero is not kept (`-0 + 0`, `0 - 0`), and `(x * a) * b` rounds once, not twice.
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
    const fill = (value: number, like = node.outputs[0]!) => make(filled(value, like));

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
  /** A constant like the node's output, or like another value. */
  readonly fill: (value: number, like?: Value) => readonly Value[];
}

/** What stands in place of a node's outputs, or undefined where the rule does not apply. */
type Rule = (node: Node, context: Context) => readonly Value[] | undefined;

const filled = (value: number, { shape, dtype }: Value): Node => ({
  op: FILL,
  inputs: [],
  attributes: { value: dtype === "float32" ? Math.fround(value) : value },
  outputs: [{ shape, dtype }],
});

const scalarLike = ({ dtype }: Value): Value => ({ shape: [], dtype });

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

/** Operations whose output has the same number everywhere if their only input has. */
const movements = new Set(["Reshape", "ExpandDims", "Transpose", "Tile", "Slice", "BroadcastTo"]);

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

/** A number everywhere in, a number everywhere out. Arithmetic only in float32: integers may overflow. */
const foldConstants: Rule = ({ op, inputs: [a, b], outputs: [y] }, { fillOf, fill }) => {
  if (op === "ZerosLike") return fill(0);
  if (op === "OnesLike") return fill(1);
  const [x, z] = [fillOf(a), fillOf(b)];
  if (x === undefined) return undefined;
  if (movements.has(op)) return fill(x);
  if (op === "Cast") return fill(castNumber(x, y!.dtype));
  if (y!.dtype !== "float32") return undefined;
  if (unary[op]) return fill(unary[op](x));
  return z !== undefined && binary[op] ? fill(binary[op](x, z)) : undefined;
};

function castNumber(x: number, dtype: Value["dtype"]): number {
  if (dtype === "float32") return x;
  return dtype === "bool" ? Number(x !== 0) : Math.trunc(x);
}

/** Operations that change nothing, or no more than a cheaper one does. */
const dropNeutral: Rule = (
  { op, inputs: [a, b], outputs: [y], attributes },
  { fillOf, fill, make },
) => {
  const [x, z] = [fillOf(a), fillOf(b)];
  // Only if the other operand did not broadcast it.
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
      if (z === 1) return keep(a);
      // A product is several times as fast as a quotient.
      return z !== undefined && hasExactReciprocal(z)
        ? make({
            op: "Multiply",
            inputs: [a, fill(1 / z, b)[0]],
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

/** Powers of two whose reciprocal is one too, neither of them denormal: the product has the quotient's bits. */
function hasExactReciprocal(x: number): boolean {
  const exponent = Math.log2(Math.abs(x));
  return Number.isInteger(exponent) && Math.abs(exponent) <= 126;
}

/** Tile as tfjs uses it for broadcastTo: only dimensions of size 1 are repeated. */
const tileIsBroadcast: Rule = ({ op, inputs: [x], attributes, outputs: [y] }, { make }) => {
  if (op !== "Tile") return undefined;
  const reps = attributes.reps as number[];
  if (reps.every((count) => count === 1)) return [x!];
  if (!reps.every((count, i) => count === 1 || x!.shape[i] === 1)) return undefined;
  return make({ op: "BroadcastTo", inputs: [x], attributes: {}, outputs: [{ ...y! }] });
};

/** An operation that broadcasts takes what came before a broadcast, if its other inputs give the shape. */
const leaveBroadcast: Rule = (node, { before, fillOf, fill, make }) => {
  if (!broadcasts.has(node.op)) return undefined;
  const [y] = node.outputs;
  const narrow = (value: Value | undefined): Value | undefined => {
    const number = fillOf(value);
    if (number !== undefined && value!.shape.length > 0) return fill(number, scalarLike(value!))[0];
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

/** Two reshapes or two transposes in a row are one, or none. */
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
    const first = earlier.attributes.perm as number[];
    const perm = (attributes.perm as number[]).map((axis) => first[axis]!);
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

/** (x * a) * b with float32 numbers a and b is one product, unless a * b leaves the range of float32. */
const joinScales: Rule = (node, { before, fillOf, fill, make }) => {
  const [y] = node.outputs;
  if (node.op !== "Multiply" || y!.dtype !== "float32") return undefined;
  const [scaled, outer] = scaleOf(node, fillOf) ?? [];
  const earlier = before(scaled, "Multiply");
  const [x, inner] = (earlier && scaleOf(earlier, fillOf)) ?? [];
  if (!x || outer === undefined || inner === undefined || !sameShape(x, y)) return undefined;
  const exponent = Math.log2(Math.abs(outer * inner));
  if (!(Math.abs(exponent) <= 126)) return undefined;
  return make({
    op: "Multiply",
    inputs: [x, fill(outer * inner, scalarLike(y!))[0]],
    attributes: {},
    outputs: [{ ...y! }],
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
