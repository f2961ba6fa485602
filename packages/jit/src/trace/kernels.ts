/**
 * The kernels of tfjs that can be traced, each with the shape and type of what it makes.
 * Our own primitives add theirs in `primitives/`.
 *
 * tfjs checks some shapes in its operations and others only in the kernels of a backend: those are checked here.
 */
import { AlignTokError, check, sizeOf } from "@aligntok/core";
import { backend_util, slice_util, util } from "@tensorflow/tfjs-core";
import { FILL, type Value } from "../graph/graph.ts";
import { traceable } from "./backend.ts";
import { defineAlias, defineKernel, type Infer } from "./kernel.ts";

const like: Infer = ([x]) => ({ shape: x!.shape, dtype: x!.dtype });
const asBool: Infer = ([a, b]) => ({ shape: broadcast([a!, b!]), dtype: "bool" });
const broadcasting: Infer = ([a, b]) => ({ shape: broadcast([a!, b!]), dtype: a!.dtype });

function broadcast(values: readonly Value[]): number[] {
  return values
    .map(({ shape }) => [...shape])
    .reduce((a, b) => backend_util.assertAndGetBroadcastShape(a, b));
}

/** tfjs axes: a number, a list, or nothing for all of them. */
function axesOf(axis: unknown, x: Value): number[] {
  return util.parseAxisParam(axis as number | number[], [...x.shape]);
}

function oneAxis(axis: unknown, x: Value): number {
  return axesOf(axis, x)[0]!;
}

// Elementwise, one input.
for (const name of [
  "Abs",
  "Ceil",
  "Cos",
  "Elu",
  "Erf",
  "Exp",
  "Expm1",
  "Floor",
  "Log",
  "Log1p",
  "LogicalNot",
  "Neg",
  "Reciprocal",
  "Relu",
  "Relu6",
  "Round",
  "Rsqrt",
  "Sigmoid",
  "Sign",
  "Sin",
  "Softplus",
  "Sqrt",
  "Square",
  "Tan",
  "Tanh",
  "LeakyRelu",
  "ClipByValue",
  "Step",
]) {
  defineKernel(name, { inputs: ["x"], infer: like });
}

// Elementwise, two inputs that broadcast.
for (const name of [
  "Add",
  "Sub",
  "Multiply",
  "RealDiv",
  "Maximum",
  "Minimum",
  "Pow",
  "SquaredDifference",
]) {
  defineKernel(name, { inputs: ["a", "b"], infer: broadcasting });
}
for (const name of [
  "Equal",
  "NotEqual",
  "Greater",
  "GreaterEqual",
  "Less",
  "LessEqual",
  "LogicalAnd",
  "LogicalOr",
]) {
  defineKernel(name, { inputs: ["a", "b"], infer: asBool });
}
defineKernel("AddN", { inputs: "list", infer: like });
defineKernel("Select", {
  inputs: ["condition", "t", "e"],
  infer: ([condition, t, e]) => ({ shape: broadcast([condition!, t!, e!]), dtype: t!.dtype }),
});
defineKernel("Cast", {
  inputs: ["x"],
  infer: ([x], { dtype }) => ({ shape: x!.shape, dtype: traceable(dtype as Value["dtype"]) }),
});

// Made from nothing.
defineKernel(FILL, {
  inputs: [],
  infer: (_, { shape, dtype }) => ({
    shape: shape as number[],
    dtype: traceable((dtype as Value["dtype"] | undefined) ?? "float32"),
  }),
  attributes: ({ value, shape, dtype }) => ({ value: Number(value), shape, dtype }),
});
defineKernel("ZerosLike", { inputs: ["x"], infer: like });
defineKernel("OnesLike", { inputs: ["x"], infer: like });

// Reductions.
for (const [name, key] of [
  ["Sum", "axis"],
  ["Mean", "axis"],
  ["Max", "reductionIndices"],
  ["Min", "axis"],
  ["Prod", "axis"],
  ["All", "axis"],
  ["Any", "axis"],
] as const) {
  defineKernel(name, {
    inputs: ["x"],
    attributes: (attributes, [x]) => ({
      axes: axesOf(attributes[key], x!),
      keepDims: attributes.keepDims === true,
    }),
    infer: ([x], { axes, keepDims }) => ({
      shape: x!.shape.flatMap((n, i) =>
        (axes as number[]).includes(i) ? (keepDims ? [1] : []) : [n],
      ),
      dtype: x!.dtype,
    }),
  });
}
for (const name of ["ArgMax", "ArgMin"]) {
  defineKernel(name, {
    inputs: ["x"],
    attributes: ({ axis }, [x]) => ({ axis: oneAxis(axis, x!) }),
    infer: ([x], { axis }) => ({ shape: x!.shape.filter((_, i) => i !== axis), dtype: "int32" }),
  });
}
defineKernel("Cumsum", {
  inputs: ["x"],
  attributes: ({ axis, exclusive, reverse }, [x]) => ({
    axis: oneAxis(axis, x!),
    exclusive: exclusive === true,
    reverse: reverse === true,
  }),
  infer: like,
});
defineKernel("Softmax", {
  inputs: ["logits"],
  attributes: ({ dim }, [x]) => ({ axis: oneAxis(dim, x!) }),
  infer: like,
});
defineKernel("LogSoftmax", {
  inputs: ["logits"],
  attributes: ({ axis }, [x]) => ({ axis: oneAxis(axis, x!) }),
  infer: like,
});

// Shapes.
defineAlias("Identity", "x");
defineKernel("Reshape", {
  inputs: ["x"],
  attributes: ({ shape }, [x]) => ({
    shape: util.inferFromImplicitShape(shape as number[], sizeOf(x!.shape)),
  }),
  infer: ([x], { shape }) => ({ shape: shape as number[], dtype: x!.dtype }),
});
defineKernel("ExpandDims", {
  inputs: ["input"],
  infer: ([x], { dim }) => {
    const shape = [...x!.shape];
    const axis = dim as number;
    shape.splice(axis < 0 ? shape.length + 1 + axis : axis, 0, 1);
    return { shape, dtype: x!.dtype };
  },
});
defineKernel("Transpose", {
  inputs: ["x"],
  infer: ([x], { perm }) => ({
    shape: (perm as number[]).map((axis) => x!.shape[axis]!),
    dtype: x!.dtype,
  }),
});
defineKernel("Concat", {
  inputs: "list",
  attributes: ({ axis }, [x]) => ({ axis: oneAxis(axis, x!) }),
  infer: (inputs, { axis }) => {
    const shapes = inputs.map(({ shape }) => [...shape]);
    backend_util.assertParamsConsistent(shapes, axis as number);
    return {
      shape: backend_util.computeOutShape(shapes, axis as number),
      dtype: inputs[0]!.dtype,
    };
  },
});
defineKernel("Slice", {
  inputs: ["x"],
  attributes: ({ begin, size }, [x]) => {
    const shaped = { shape: [...x!.shape] } as Parameters<typeof slice_util.parseSliceParams>[0];
    const [starts, sizes] = slice_util.parseSliceParams(
      shaped,
      begin as number[],
      size as number[],
    );
    slice_util.assertParamsValid(shaped, starts!, sizes!);
    return { begin: starts, size: sizes };
  },
  infer: ([x], { size }) => ({ shape: size as number[], dtype: x!.dtype }),
});
defineKernel("SplitV", {
  inputs: ["x"],
  attributes: ({ numOrSizeSplits, axis }, [x]) => {
    const along = oneAxis(axis, x!);
    const shaped = { shape: [...x!.shape] } as Parameters<typeof backend_util.prepareSplitSize>[0];
    return {
      sizes: backend_util.prepareSplitSize(shaped, numOrSizeSplits as number | number[], along),
      axis: along,
    };
  },
  infer: ([x], { sizes, axis }) =>
    (sizes as number[]).map((size) => ({
      shape: x!.shape.map((n, i) => (i === axis ? size : n)),
      dtype: x!.dtype,
    })),
});
defineKernel("Pack", {
  inputs: "list",
  attributes: ({ axis }, [x]) => ({
    axis: (axis as number) < 0 ? x!.shape.length + 1 + (axis as number) : axis,
  }),
  infer: (inputs, { axis }) => {
    const shape = [...inputs[0]!.shape];
    for (const other of inputs) {
      check(
        other.shape.join() === shape.join(),
        () => `tf.stack: expected equal shapes, got [${shape}] and [${other.shape}]`,
      );
    }
    shape.splice(axis as number, 0, inputs.length);
    return { shape, dtype: inputs[0]!.dtype };
  },
});
defineKernel("Unpack", {
  inputs: ["value"],
  attributes: ({ axis }, [x]) => ({ axis: oneAxis(axis, x!) }),
  infer: ([x], { axis }) =>
    Array.from({ length: x!.shape[axis as number]! }, () => ({
      shape: x!.shape.filter((_, i) => i !== axis),
      dtype: x!.dtype,
    })),
});
defineKernel("PadV2", {
  inputs: ["x"],
  infer: ([x], { paddings }) => ({ shape: padded(x!, paddings), dtype: x!.dtype }),
});
defineKernel("MirrorPad", {
  inputs: ["x"],
  infer: ([x], { paddings }) => ({ shape: padded(x!, paddings), dtype: x!.dtype }),
});
defineKernel("Tile", {
  inputs: ["x"],
  infer: ([x], { reps }) => ({
    shape: x!.shape.map((n, i) => n * (reps as number[])[i]!),
    dtype: x!.dtype,
  }),
});
defineKernel("Reverse", {
  inputs: ["x"],
  attributes: ({ dims }, [x]) => ({ axes: axesOf(dims, x!) }),
  infer: like,
});
defineKernel("GatherV2", {
  inputs: ["x", "indices"],
  attributes: ({ axis, batchDims }, [x]) => {
    const along = oneAxis(axis, x!);
    const batch = (batchDims as number | undefined) ?? 0;
    if (batch !== 0 && batch !== along) {
      throw new AlignTokError(
        "unsupported",
        `tf.gather: expected batchDims 0 or equal to axis ${along}, got ${batch}. transpose the axis first`,
      );
    }
    return { axis: along, batchDims: batch };
  },
  infer: ([x, indices], { axis, batchDims }) => ({
    shape: [
      ...x!.shape.slice(0, axis as number),
      ...indices!.shape.slice(batchDims as number),
      ...x!.shape.slice((axis as number) + 1),
    ],
    dtype: x!.dtype,
  }),
});
defineKernel("OneHot", {
  inputs: ["indices"],
  infer: ([indices], { depth, dtype }) => ({
    shape: [...indices!.shape, depth as number],
    dtype: traceable((dtype as Value["dtype"] | undefined) ?? "int32"),
  }),
});

// Products.
defineKernel("BatchMatMul", {
  inputs: ["a", "b"],
  attributes: ({ transposeA, transposeB }) => ({
    transposeA: transposeA === true,
    transposeB: transposeB === true,
  }),
  infer: ([a, b], { transposeA, transposeB }) => {
    check(
      a!.shape.length >= 2 &&
        b!.shape.length >= 2 &&
        a!.shape.at(transposeA ? -2 : -1) === b!.shape.at(transposeB ? -1 : -2),
      () =>
        `tf.matMul: expected equal inner dimensions, got [${a!.shape}]${transposeA ? " transposed" : ""} and [${b!.shape}]${transposeB ? " transposed" : ""}`,
    );
    const [m, n] = [a!.shape.at(transposeA ? -1 : -2)!, b!.shape.at(transposeB ? -2 : -1)!];
    const batch = backend_util.assertAndGetBroadcastShape(
      a!.shape.slice(0, -2),
      b!.shape.slice(0, -2),
    );
    return { shape: [...batch, m, n], dtype: a!.dtype };
  },
});

function padded(x: Value, paddings: unknown): number[] {
  return x.shape.map((n, i) => {
    const [before, after] = (paddings as [number, number][])[i]!;
    return before + n + after;
  });
}
