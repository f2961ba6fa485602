/** Kernels that work on each element by itself. */
import { backend_util } from "@tensorflow/tfjs-core";
import type { Value } from "../../graph/graph.ts";
import { traceable } from "../backend.ts";
import { defineKernel, type Infer } from "../kernel.ts";
import { checkTypes, like } from "./arguments.ts";

function broadcast(values: readonly Value[]): number[] {
  return values
    .map(({ shape }) => [...shape])
    .reduce((a, b) => backend_util.assertAndGetBroadcastShape(a, b));
}

/** Functions of real numbers. tfjs's backends differ on integers, so these must be cast. */
for (const name of [
  "Acos",
  "Acosh",
  "Asin",
  "Asinh",
  "Atan",
  "Atanh",
  "Ceil",
  "Cos",
  "Cosh",
  "Elu",
  "Erf",
  "Exp",
  "Expm1",
  "Floor",
  "LeakyRelu",
  "Log",
  "Log1p",
  "Reciprocal",
  "Round",
  "Rsqrt",
  "Selu",
  "Sigmoid",
  "Sin",
  "Sinh",
  "Softplus",
  "Sqrt",
  "Tan",
  "Tanh",
]) {
  defineKernel(name, { inputs: ["x"], infer: ofTypes(name, like, "float32") });
}
for (const name of ["Abs", "ClipByValue", "Neg", "Relu", "Relu6", "Sign", "Square", "Step"]) {
  defineKernel(name, { inputs: ["x"], infer: ofTypes(name, like, "float32", "int32") });
}
for (const name of ["IsInf", "IsNan"]) {
  const infer: Infer = ([x]) => ({ shape: x!.shape, dtype: "bool" });
  defineKernel(name, { inputs: ["x"], infer: ofTypes(name, infer, "float32") });
}
defineKernel("LogicalNot", { inputs: ["x"], infer: ofTypes("LogicalNot", like, "bool") });

// tfjs has brought both to one type.
const broadcasting: Infer = ([a, b]) => ({ shape: broadcast([a!, b!]), dtype: a!.dtype });
const comparing: Infer = ([a, b]) => ({ shape: broadcast([a!, b!]), dtype: "bool" });
for (const name of [
  "Add",
  "Maximum",
  "Minimum",
  "Mod",
  "Multiply",
  "Pow",
  "RealDiv",
  "SquaredDifference",
  "Sub",
]) {
  defineKernel(name, {
    inputs: ["a", "b"],
    infer: ofTypes(name, broadcasting, "float32", "int32"),
  });
}
// tfjs's backends agree on whole numbers as the type of the result, whatever that of the operands.
defineKernel("FloorDiv", {
  inputs: ["a", "b"],
  infer: ofTypes(
    "FloorDiv",
    ([a, b]) => ({ shape: broadcast([a!, b!]), dtype: "int32" }),
    "float32",
    "int32",
  ),
});
for (const name of ["Equal", "NotEqual"])
  defineKernel(name, { inputs: ["a", "b"], infer: comparing });
for (const name of ["Greater", "GreaterEqual", "Less", "LessEqual"]) {
  defineKernel(name, { inputs: ["a", "b"], infer: ofTypes(name, comparing, "float32", "int32") });
}
for (const name of ["LogicalAnd", "LogicalOr"]) {
  defineKernel(name, { inputs: ["a", "b"], infer: ofTypes(name, comparing, "bool") });
}
defineKernel("AddN", { inputs: "list", infer: ofTypes("AddN", like, "float32", "int32") });
defineKernel("Select", {
  inputs: ["condition", "t", "e"],
  infer: ([condition, t, e]) => ({ shape: broadcast([condition!, t!, e!]), dtype: t!.dtype }),
});
defineKernel("Cast", {
  inputs: ["x"],
  infer: ([x], { dtype }) => ({ shape: x!.shape, dtype: traceable(dtype as Value["dtype"]) }),
});

/** The rule for inputs of these types only. */
function ofTypes(name: string, infer: Infer, ...types: readonly Value["dtype"][]): Infer {
  return (inputs, attributes) => {
    checkTypes(name, inputs, ...types);
    return infer(inputs, attributes);
  };
}
