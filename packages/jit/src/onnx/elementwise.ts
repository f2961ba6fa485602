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

const castTo: Readonly<Record<string, number>> = { float32: 1, int32: 6, bool: 9 };

export const elementwise: LoweringTable = {
  Abs: as("Abs"),
  Ceil: as("Ceil"),
  Cos: as("Cos"),
  Elu: as("Elu"),
  Erf: as("Erf"),
  Exp: as("Exp"),
  Floor: as("Floor"),
  Log: as("Log"),
  LogicalNot: as("Not"),
  Neg: as("Neg"),
  Reciprocal: as("Reciprocal"),
  Relu: as("Relu"),
  Round: as("Round"),
  Sigmoid: as("Sigmoid"),
  Sign: as("Sign"),
  Sin: as("Sin"),
  Softplus: as("Softplus"),
  Sqrt: as("Sqrt"),
  Tan: as("Tan"),
  Tanh: as("Tanh"),
  Expm1: (_, [x], builder) => builder.add("Sub", [builder.add("Exp", [x]), builder.scalar(1)]),
  Log1p: (_, [x], builder) => builder.add("Log", [builder.add("Add", [x, builder.scalar(1)])]),
  Rsqrt: (_, [x], builder) => builder.add("Reciprocal", [builder.add("Sqrt", [x])]),
  Square: (_, [x], builder) => builder.add("Mul", [x, x]),
  LeakyRelu: ({ attributes }, [x], builder) =>
    builder.add("LeakyRelu", [x], { alpha: { float: attributes.alpha as number } }),
  ClipByValue: ({ attributes }, [x], builder) =>
    builder.add("Clip", [
      x,
      builder.scalar(attributes.clipValueMin as number),
      builder.scalar(attributes.clipValueMax as number),
    ]),
  Relu6: (_, [x], builder) => builder.add("Clip", [x, builder.scalar(0), builder.scalar(6)]),
  // 1 above 0, otherwise alpha (0 by default); tfjs keeps NaN, of which this makes alpha.
  Step: ({ attributes }, [x], builder) =>
    builder.add("Where", [
      builder.add("Greater", [x, builder.scalar(0)]),
      builder.scalar(1),
      builder.scalar((attributes.alpha as number | undefined) ?? 0),
    ]),
  Cast: ({ attributes }, [x], builder) =>
    builder.add("Cast", [x], { to: castTo[attributes.dtype as string] as number }),

  Add: as("Add"),
  Sub: as("Sub"),
  Multiply: as("Mul"),
  RealDiv: as("Div"),
  Maximum: as("Max"),
  Minimum: as("Min"),
  Pow: as("Pow"),
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
  Select: as("Where"),
};
