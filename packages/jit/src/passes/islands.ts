import { sizeOf } from "@aligntok/core";
import { type Attributes, type Graph, rewrite, type Value } from "../graph/graph.ts";

/** The transpositions around operations on images: channels to the end, and back to the second place. */
const channelMoves = ["0,2,3,1", "0,3,1,2"];

/**
 * Islands of one image layout. An engine has convolutions in one layout only, so a program written in the other has
 * a transposition before and after each. What lies between them, elementwise operations, sums and concatenations, is
 * done before the transposition in place of after it, until the next one undoes it: a convolutional net is left
 * with transpositions at its ends, and of its weights.
 */
export function growIslands(graph: Graph): Graph {
  // Which transposition makes a value, and of what.
  const moved = new Map<Value, { readonly source: Value; readonly perm: readonly number[] }>();
  return rewrite(graph, (node, emit) => {
    const { op, inputs, attributes, outputs } = node;
    if (op === "Transpose") {
      const perm = attributes.perm as number[];
      if (!channelMoves.includes(perm.join())) return undefined;
      const before = moved.get(inputs[0]!);
      if (before?.perm.every((axis, i) => perm[axis] === i)) return [before.source];
      moved.set(outputs[0]!, { source: inputs[0]!, perm });
      return undefined;
    }
    const perm = inputs.map((input) => input && moved.get(input)?.perm).find(Boolean);
    if (!perm) return undefined;
    const changed = (elementwise.has(op) ? keepAttributes : rules[op])?.(attributes, perm);
    if (!changed) return undefined;
    const sources = inputs.map((input) => input && sourceOf(input, perm));
    if (sources.some((source, i) => !source && inputs[i])) return undefined;
    const made = outputs.map((output) =>
      changed.reduces ? { ...output } : transposed(output, inverse(perm)),
    );
    emit({ ...node, inputs: sources, attributes: changed.attributes, outputs: made });
    return changed.reduces ? made : made.map((value) => move(value, perm));

    /** An input in the layout before the transposition, unless it would take a transposition of its own. */
    function sourceOf(value: Value, perm: readonly number[]): Value | undefined {
      const known = moved.get(value);
      if (known?.perm.join() === perm.join()) return known.source;
      const { shape, dtype } = value;
      if (shape.length === 0) return value;
      const isSmall = sizeOf(shape) * 8 <= sizeOf(outputs[0]!.shape);
      if (!isSmall || shape.length > perm.length) return undefined;
      const full = [...Array<number>(perm.length - shape.length).fill(1), ...shape];
      const reshaped = { shape: full, dtype };
      emit({ op: "Reshape", inputs: [value], attributes: { shape: full }, outputs: [reshaped] });
      return move(reshaped, inverse(perm));
    }

    function move(value: Value, perm: readonly number[]): Value {
      const output = transposed(value, perm);
      emit({
        op: "Transpose",
        inputs: [value],
        attributes: { perm: [...perm] },
        outputs: [output],
      });
      moved.set(output, { source: value, perm });
      return output;
    }
  });
}

/** The attributes before the transposition, where the operation can be done there; `reduces`: its outputs are the same as after it. */
type Rule = (
  attributes: Attributes,
  perm: readonly number[],
) => { readonly attributes: Attributes; readonly reduces?: boolean } | undefined;

const keepAttributes: Rule = (attributes) => ({ attributes });

const alongAxis: Rule = (attributes, perm) => ({
  attributes: { ...attributes, axis: perm[attributes.axis as number] },
});

const reduction: Rule = (attributes, perm) => {
  const axes = attributes.axes as number[];
  const mapped = { ...attributes, axes: axes.map((axis) => perm[axis]!).sort((a, b) => a - b) };
  if (attributes.keepDims) return { attributes: mapped };
  const rest = perm.filter((_, i) => !axes.includes(i));
  return rest.every((axis, i) => i === 0 || rest[i - 1]! < axis)
    ? { attributes: mapped, reduces: true }
    : undefined;
};

const padding: Rule = (attributes, perm) => ({
  attributes: {
    ...attributes,
    paddings: inverse(perm).map((i) => (attributes.paddings as number[][])[i]),
  },
});

const rules: Readonly<Record<string, Rule>> = {
  Concat: alongAxis,
  SplitV: alongAxis,
  PadV2: padding,
  MirrorPad: padding,
  Sum: reduction,
  Mean: reduction,
  Max: reduction,
  Min: reduction,
};

const elementwise = new Set([
  ...["Abs", "Neg", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus"],
  ...["Gelu", "Silu", "Exp", "Log", "Sqrt", "Rsqrt", "Square", "Reciprocal", "ClipByValue"],
  ...["Add", "Sub", "Multiply", "RealDiv", "Maximum", "Minimum", "SquaredDifference", "AddN"],
  ...["Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalNot"],
  ...["LogicalAnd", "LogicalOr", "Select", "Cast", "Step", "Sign"],
]);

function inverse(perm: readonly number[]): number[] {
  return perm.map((_, i) => perm.indexOf(i));
}

function transposed({ shape, dtype }: Value, perm: readonly number[]): Value {
  return { shape: perm.map((axis) => shape[axis]!), dtype };
}
