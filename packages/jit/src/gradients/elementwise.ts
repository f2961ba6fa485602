/**
 * Gradients of elementwise kernels: dx from dy, with broadcast dimensions summed away.
 *
 * Where a function has a corner, the slope is PyTorch's: 0 for |x|, relu and relu6 at 0, alpha for leakyRelu at 0,
 * 1 at the bounds of clipByValue; steps (ceil, floor, round, sign, step, comparisons) have slope 0.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";

/** Sums a gradient over the dimensions in which its input was broadcast. */
export function unbroadcast(dy: Tensor, shape: readonly number[]): Tensor {
  // Not tfjs's getReductionAxes, which takes a dimension of 1 that became 0 for one that was not broadcast.
  const leading = dy.rank - shape.length;
  const axes = dy.shape.flatMap((n, i) =>
    i < leading || (shape[i - leading] === 1 && n !== 1) ? [i] : [],
  );
  const summed = axes.length > 0 ? tf.sum(dy, axes) : dy;
  // A new tensor in any case: tfjs disposes of gradients that it has added up, and dy may be in use elsewhere.
  return tf.reshape(summed, [...shape]);
}

type Unary = (dy: Tensor, saved: Tensor, attributes: tf.NamedAttrMap) => Tensor;

/** dx as a function of dy and the input x. */
function fromInput(kernelName: string, dx: Unary): void {
  tf.registerGradient({
    kernelName,
    inputsToSave: ["x"],
    gradFunc: (dy, saved, attrs) => ({ x: () => dx(dy as Tensor, saved[0]!, attrs) }),
  });
}

/** dx as a function of dy and the output y, which is cheaper where it is possible. */
function fromOutput(kernelName: string, dx: Unary): void {
  tf.registerGradient({
    kernelName,
    outputsToSave: [true],
    gradFunc: (dy, saved, attrs) => ({ x: () => dx(dy as Tensor, saved[0]!, attrs) }),
  });
}

/** selu(x) = scale x above 0, scale alpha (e^x - 1) below. Source: arXiv 1706.02515, appendix A1. */
const [seluScale, seluAlpha] = [1.0507009873554805, 1.6732632423543772];

const mask = (condition: Tensor) => tf.cast(condition, "float32");

fromInput("Abs", (dy, x) => tf.mul(dy, tf.sign(x)));
fromInput("Acos", (dy, x) => tf.neg(tf.mul(dy, tf.rsqrt(tf.sub(1, tf.square(x))))));
fromInput("Acosh", (dy, x) => tf.mul(dy, tf.rsqrt(tf.sub(tf.square(x), 1))));
fromInput("Asin", (dy, x) => tf.mul(dy, tf.rsqrt(tf.sub(1, tf.square(x)))));
fromInput("Asinh", (dy, x) => tf.mul(dy, tf.rsqrt(tf.add(tf.square(x), 1))));
fromInput("Atan", (dy, x) => tf.div(dy, tf.add(tf.square(x), 1)));
fromInput("Atanh", (dy, x) => tf.div(dy, tf.sub(1, tf.square(x))));
fromInput("Cosh", (dy, x) => tf.mul(dy, tf.sinh(x)));
fromInput("Sinh", (dy, x) => tf.mul(dy, tf.cosh(x)));
fromInput("Cos", (dy, x) => tf.neg(tf.mul(dy, tf.sin(x))));
fromInput("Sin", (dy, x) => tf.mul(dy, tf.cos(x)));
fromInput("Tan", (dy, x) => tf.div(dy, tf.square(tf.cos(x))));
fromInput("Erf", (dy, x) =>
  tf.mul(tf.mul(dy, 2 / Math.sqrt(Math.PI)), tf.exp(tf.neg(tf.square(x)))),
);
fromOutput("Exp", (dy, y) => tf.mul(dy, y));
fromOutput("Expm1", (dy, y) => tf.mul(dy, tf.add(y, 1)));
fromInput("Log", (dy, x) => tf.div(dy, x));
fromInput("Log1p", (dy, x) => tf.div(dy, tf.add(x, 1)));
fromInput("Neg", (dy) => tf.neg(dy));
fromOutput("Reciprocal", (dy, y) => tf.neg(tf.mul(dy, tf.square(y))));
fromOutput("Relu", (dy, y) => tf.mul(dy, mask(tf.greater(y, 0))));
fromOutput("Relu6", (dy, y) => tf.mul(dy, mask(tf.logicalAnd(tf.greater(y, 0), tf.less(y, 6)))));
fromInput("LeakyRelu", (dy, x, { alpha }) =>
  tf.where(tf.greater(x, 0), dy, tf.mul(dy, alpha as number)),
);
fromOutput("Elu", (dy, y) => tf.where(tf.greater(y, 0), dy, tf.mul(dy, tf.add(y, 1))));
fromOutput("Selu", (dy, y) =>
  tf.mul(dy, tf.where(tf.greater(y, 0), tf.scalar(seluScale), tf.add(y, seluScale * seluAlpha))),
);
fromOutput("Rsqrt", (dy, y) => tf.mul(tf.mul(dy, -0.5), tf.mul(y, tf.square(y))));
fromOutput("Sqrt", (dy, y) => tf.div(tf.mul(dy, 0.5), y));
fromInput("Square", (dy, x) => tf.mul(dy, tf.mul(x, 2)));
fromOutput("Sigmoid", (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y))));
fromOutput("Tanh", (dy, y) => tf.mul(dy, tf.sub(1, tf.square(y))));
fromInput("Softplus", (dy, x) => tf.mul(dy, tf.sigmoid(x)));
fromInput("ClipByValue", (dy, x, { clipValueMin, clipValueMax }) =>
  tf.mul(
    dy,
    mask(
      tf.logicalAnd(
        tf.greaterEqual(x, clipValueMin as number),
        tf.lessEqual(x, clipValueMax as number),
      ),
    ),
  ),
);
for (const name of ["Ceil", "Floor", "Round", "Sign", "Step"]) {
  fromInput(name, (dy) => tf.zerosLike(dy));
}
// Whole numbers and truth values have no slope, on either side of it.
fromInput("Cast", (dy, x, { dtype }) =>
  x.dtype === "float32" && (dtype as unknown) === "float32" ? tf.clone(dy) : tf.zeros(x.shape),
);

function binary(
  kernelName: string,
  da: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
  db: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
): void {
  tf.registerGradient({
    kernelName,
    inputsToSave: ["a", "b"],
    gradFunc: (dy, saved) => {
      const [a, b] = saved as [Tensor, Tensor];
      return {
        a: () => unbroadcast(da(dy as Tensor, a, b), a.shape),
        b: () => unbroadcast(db(dy as Tensor, a, b), b.shape),
      };
    },
  });
}

binary(
  "Add",
  (dy) => dy,
  (dy) => dy,
);
binary(
  "Sub",
  (dy) => dy,
  (dy) => tf.neg(dy),
);
binary(
  "Multiply",
  (dy, _, b) => tf.mul(dy, b),
  (dy, a) => tf.mul(dy, a),
);
binary(
  "RealDiv",
  (dy, _, b) => tf.div(dy, b),
  (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
);
// Where both are equal the whole gradient goes to a, as in tfjs (PyTorch gives each half).
binary(
  "Maximum",
  (dy, a, b) => tf.mul(dy, mask(tf.greaterEqual(a, b))),
  (dy, a, b) => tf.mul(dy, mask(tf.less(a, b))),
);
binary(
  "Minimum",
  (dy, a, b) => tf.mul(dy, mask(tf.lessEqual(a, b))),
  (dy, a, b) => tf.mul(dy, mask(tf.greater(a, b))),
);
binary(
  "SquaredDifference",
  (dy, a, b) => tf.mul(dy, tf.mul(tf.sub(a, b), 2)),
  (dy, a, b) => tf.mul(dy, tf.mul(tf.sub(b, a), 2)),
);
binary(
  "Mod",
  (dy) => dy,
  (dy, a, b) => tf.neg(tf.mul(dy, tf.floor(tf.div(a, b)))),
);
binary(
  "Pow",
  (dy, a, b) => tf.mul(dy, tf.mul(b, tf.pow(a, tf.sub(b, 1)))),
  (dy, a, b) => {
    // a^b log a, with 0 in place of log a where it is not a number.
    const positive = tf.greater(a, 0);
    const log = tf.where(positive, tf.log(tf.where(positive, a, tf.onesLike(a))), tf.zerosLike(a));
    return tf.mul(dy, tf.mul(tf.pow(a, b), log));
  },
);

tf.registerGradient({
  kernelName: "AddN",
  saveAllInputs: true,
  gradFunc: (dy, saved) =>
    Object.fromEntries(saved.map((_, i) => [i, () => tf.clone(dy as Tensor)])),
});

tf.registerGradient({
  kernelName: "Select",
  inputsToSave: ["condition", "t", "e"],
  gradFunc: (dy, saved) => {
    const [condition, t, e] = saved as [Tensor, Tensor, Tensor];
    const zero = tf.zerosLike(dy as Tensor);
    return {
      condition: () => tf.zerosLike(tf.cast(condition, "float32")),
      t: () => unbroadcast(tf.where(condition, dy as Tensor, zero), t.shape),
      e: () => unbroadcast(tf.where(condition, zero, dy as Tensor), e.shape),
    };
  },
});

// Truth values do not change with small changes of what they compare.
for (const kernelName of [
  "Equal",
  "NotEqual",
  "Greater",
  "GreaterEqual",
  "Less",
  "LessEqual",
  "LogicalAnd",
  "LogicalOr",
  "FloorDiv",
]) {
  tf.registerGradient({
    kernelName,
    inputsToSave: ["a", "b"],
    gradFunc: (_, saved) => ({
      a: () => tf.zeros(saved[0]!.shape),
      b: () => tf.zeros(saved[1]!.shape),
    }),
  });
}
for (const kernelName of ["LogicalNot", "IsInf", "IsNan", "ArgMax", "ArgMin", "All", "Any"]) {
  fromInput(kernelName, (_, x) => tf.zeros(x.shape));
}
