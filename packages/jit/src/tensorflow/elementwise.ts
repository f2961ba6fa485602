/** Operations that work on each element by itself, with broadcasting as in tfjs and NumPy. */
import type { Lowering, LoweringTable } from "./lower.ts";

/** The TensorFlow operation that does exactly the same. */
const as =
  (op: string): Lowering =>
  (_, inputs, builder) =>
    builder.add(op, inputs);

const compare =
  (op: string): Lowering =>
  (_, inputs, builder) =>
    builder.add(op, inputs, {}, { dtype: "bool" });

/** Operations on truth values have no attribute for a type. */
const logical =
  (op: string): Lowering =>
  (_, inputs, builder) =>
    builder.add(op, inputs, {}, { typed: false });

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
  Expm1: as("Expm1"),
  Floor: as("Floor"),
  IsInf: compare("IsInf"),
  IsNan: compare("IsNan"),
  Log: as("Log"),
  Log1p: as("Log1p"),
  LogicalNot: logical("LogicalNot"),
  Neg: as("Neg"),
  Reciprocal: as("Reciprocal"),
  Relu: as("Relu"),
  Relu6: as("Relu6"),
  Round: as("Round"),
  Rsqrt: as("Rsqrt"),
  Selu: as("Selu"),
  Sigmoid: as("Sigmoid"),
  Sign: as("Sign"),
  Sin: as("Sin"),
  Sinh: as("Sinh"),
  Softplus: as("Softplus"),
  Sqrt: as("Sqrt"),
  Square: as("Square"),
  Tan: as("Tan"),
  Tanh: as("Tanh"),
  LeakyRelu: ({ attributes }, [x], builder) =>
    builder.add("LeakyRelu", [x!], { alpha: { float: attributes.alpha as number } }),
  ClipByValue: ({ attributes, outputs: [y] }, [x], builder) =>
    builder.add("ClipByValue", [
      x!,
      builder.scalar(attributes.clipValueMin as number, y!.dtype),
      builder.scalar(attributes.clipValueMax as number, y!.dtype),
    ]),
  // 1 above 0, otherwise alpha (0 by default); tfjs keeps NaN, of which this makes alpha.
  Step: ({ attributes, outputs: [y] }, [x], builder) => {
    const { dtype } = y!;
    const above = builder.add("Greater", [x!, builder.scalar(0, dtype)], {}, { dtype: "bool" });
    const [one, alpha] = [
      builder.scalar(1, dtype),
      builder.scalar((attributes.alpha as number | undefined) ?? 0, dtype),
    ];
    return builder.add("SelectV2", [above, one, alpha], { T: { type: dtype } }, { dtype });
  },
  Cast: ({ outputs: [y] }, [x], builder) => builder.cast(x!, y!.dtype),

  Add: as("AddV2"),
  Sub: as("Sub"),
  Multiply: as("Mul"),
  RealDiv: as("RealDiv"),
  // Of floats it is an integer, too.
  FloorDiv: (_, inputs, builder) => builder.cast(builder.add("FloorDiv", inputs), "int32"),
  Maximum: as("Maximum"),
  Minimum: as("Minimum"),
  Mod: as("FloorMod"),
  Pow: as("Pow"),
  SquaredDifference: as("SquaredDifference"),
  AddN: (_, inputs, builder) => builder.add("AddN", inputs, { N: inputs.length }),
  Equal: compare("Equal"),
  NotEqual: compare("NotEqual"),
  Greater: compare("Greater"),
  GreaterEqual: compare("GreaterEqual"),
  Less: compare("Less"),
  LessEqual: compare("LessEqual"),
  LogicalAnd: logical("LogicalAnd"),
  LogicalOr: logical("LogicalOr"),
  Select: ({ outputs: [y] }, inputs, builder) =>
    builder.add("SelectV2", inputs, { T: { type: y!.dtype } }, { dtype: y!.dtype }),
};
