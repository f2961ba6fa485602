/** Operations that work on each element by itself, with broadcasting as in tfjs and NumPy. */
import { elementTypes } from "./builder.ts";
import type { Lowering, LoweringTable } from "./lower.ts";

/** The ONNX operation that does exactly the same. */
const as =
  (op: string): Lowering =>
  (_, inputs, builder) =>
    builder.add(op, inputs);

const negated =
  (op: string): Lowering =>
  (_, inputs, builder) =>
    builder.add("Not", [builder.add(op, inputs)]);

export const elementwise: LoweringTable = {
  Abs: as("Abs"),
  Acos: as("Acos"),
  Acosh: as("Acosh"),
  Asin: as("Asin"),
  Asinh: as("Asinh"),
  Atan: as("Atan"),
  Atanh: as("Atanh"),
  Ceil: as("Ceil"),
  Cos: as("Cos"),
  Cosh: as("Cosh"),
  Elu: as("Elu"),
  Erf: as("Erf"),
  Exp: as("Exp"),
  Floor: as("Floor"),
  IsInf: as("IsInf"),
  IsNan: as("IsNaN"),
  Log: as("Log"),
  LogicalNot: as("Not"),
  Neg: as("Neg"),
  Reciprocal: as("Reciprocal"),
  Relu: as("Relu"),
  Round: as("Round"),
  Selu: as("Selu"),
  Sigmoid: as("Sigmoid"),
  Sign: as("Sign"),
  Sin: as("Sin"),
  Sinh: as("Sinh"),
  Softplus: as("Softplus"),
  Sqrt: as("Sqrt"),
  Tan: as("Tan"),
  Tanh: as("Tanh"),
  // tanh(x / 2) (e^x + 1): exact near 0, where e^x - 1 loses its digits.
  Expm1: (_, [x], builder) => {
    const half = builder.add("Tanh", [builder.add("Mul", [x, builder.scalar(0.5)])]);
    return builder.add("Mul", [
      half,
      builder.add("Add", [builder.add("Exp", [x]), builder.scalar(1)]),
    ]);
  },
  // log(u) x / (u - 1) with u = 1 + x rounded, which undoes the rounding near 0; log(u) where that is exact enough.
  Log1p: (_, [x], builder) => {
    const u = builder.add("Add", [x, builder.scalar(1)]);
    const log = builder.add("Log", [u]);
    const rounded = builder.add("Sub", [u, builder.scalar(1)]);
    const mended = builder.add("Div", [builder.add("Mul", [log, x]), rounded]);
    const vanished = builder.add("Equal", [rounded, builder.scalar(0)]);
    const near = builder.add("Where", [vanished, x, mended]);
    return builder.add("Where", [builder.add("Less", [x, builder.scalar(1)]), near, log]);
  },
  Rsqrt: (_, [x], builder) => builder.add("Reciprocal", [builder.add("Sqrt", [x])]),
  Square: (_, [x], builder) => builder.add("Mul", [x, x]),
  LeakyRelu: ({ attributes }, [x], builder) =>
    builder.add("LeakyRelu", [x], { alpha: { float: attributes.alpha as number } }),
  ClipByValue: ({ attributes, outputs: [y] }, [x], builder) =>
    builder.add("Clip", [
      x,
      builder.scalar(attributes.clipValueMin as number, y!.dtype),
      builder.scalar(attributes.clipValueMax as number, y!.dtype),
    ]),
  Relu6: ({ outputs: [y] }, [x], builder) =>
    builder.add("Clip", [x, builder.scalar(0, y!.dtype), builder.scalar(6, y!.dtype)]),
  // 1 above 0, otherwise alpha (0 by default); tfjs keeps NaN, of which this makes alpha.
  Step: ({ attributes, outputs: [y] }, [x], builder) =>
    builder.add("Where", [
      builder.add("Greater", [x, builder.scalar(0, y!.dtype)]),
      builder.scalar(1, y!.dtype),
      builder.scalar((attributes.alpha as number | undefined) ?? 0, y!.dtype),
    ]),
  Cast: ({ outputs }, [x], builder) =>
    builder.add("Cast", [x], { to: elementTypes[outputs[0]!.dtype] }),

  Add: as("Add"),
  Sub: as("Sub"),
  Multiply: as("Mul"),
  RealDiv: as("Div"),
  Maximum: as("Max"),
  Minimum: as("Min"),
  Pow: as("Pow"),
  // The remainder with the sign of the divisor. ONNX has that for integers, and C's, with the sign of the dividend, for floats.
  Mod: ({ outputs: [y] }, [a, b], builder) => {
    if (y!.dtype === "int32") return builder.add("Mod", [a, b]);
    const c = builder.add("Mod", [a, b], { fmod: 1 });
    const zero = builder.scalar(0);
    const opposite = builder.add("Less", [builder.add("Mul", [c, b]), zero]);
    return builder.add("Where", [opposite, builder.add("Add", [c, b]), c]);
  },
  // Rounded down, where ONNX's quotient of integers is rounded towards 0: a - (a mod b) is a multiple of b.
  FloorDiv: ({ inputs: [x] }, [a, b], builder) => {
    if (x!.dtype === "float32") {
      const floor = builder.add("Floor", [builder.add("Div", [a, b])]);
      return builder.add("Cast", [floor], { to: elementTypes.int32 });
    }
    const multiple = builder.add("Sub", [a, builder.add("Mod", [a, b])]);
    return builder.add("Div", [multiple, b]);
  },
  SquaredDifference: (_, [a, b], builder) => {
    const difference = builder.add("Sub", [a, b]);
    return builder.add("Mul", [difference, difference]);
  },
  AddN: as("Sum"),
  Equal: as("Equal"),
  NotEqual: negated("Equal"),
  Greater: as("Greater"),
  GreaterEqual: as("GreaterOrEqual"),
  Less: as("Less"),
  LessEqual: as("LessOrEqual"),
  LogicalAnd: as("And"),
  LogicalOr: as("Or"),
  Select: ({ outputs: [y] }, inputs, builder) => {
    if (y!.dtype !== "bool") return builder.add("Where", inputs);
    // Which ONNX Runtime has not for truth values.
    const [condition, t, e] = inputs;
    const other = builder.add("And", [builder.add("Not", [condition]), e]);
    return builder.add("Or", [builder.add("And", [condition, t]), other]);
  },
};
