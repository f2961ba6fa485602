import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Infer } from "../trace/kernel.ts";
import { definePrimitive } from "./primitive.ts";

const like: Infer = ([x]) => ({ shape: x!.shape, dtype: "float32" });

// The tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

const gateTanh = (x: Tensor) => {
  const inner = tf.mul(tf.mul(x, tanhScale), tf.add(tf.mul(tf.square(x), tanhCubic), 1));
  return tf.mul(tf.add(tf.tanh(inner), 1), 0.5);
};

/** Standard normal distribution function. */
const gate = (x: Tensor) => tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);

/** Standard normal density. */
const bell = (x: Tensor) => tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));

// Derivative of the exact form, gate + x bell: whole, because an engine can share parts of it.
const geluSlope = definePrimitive("GeluSlope", {
  inputs: ["x"],
  infer: like,
  reference: ({ x }) => tf.add(gate(x!), tf.mul(x!, bell(x!))),
  gradient: {
    inputsToSave: ["x"],
    // bell (2 - x^2)
    gradFunc: (dy, saved) => {
      const x = saved[0]!;
      return { x: () => tf.mul(dy as Tensor, tf.mul(bell(x), tf.sub(2, tf.square(x)))) };
    },
  },
});

/** Derivative of the tanh form: gate + x * 2 gate (1 - gate) * inner'. */
function geluTanhSlope(x: Tensor): Tensor {
  const g = gateTanh(x);
  const inner = tf.add(tf.mul(tf.square(x), 3 * tanhCubic * tanhScale), tanhScale);
  return tf.add(g, tf.mul(tf.mul(tf.mul(x, 2), inner), tf.mul(g, tf.sub(1, g))));
}

const callGelu = definePrimitive("Gelu", {
  inputs: ["x"],
  infer: like,
  reference: ({ x }, { approximation }) =>
    tf.mul(x!, approximation === "tanh" ? gateTanh(x!) : gate(x!)),
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, { approximation }) => {
      const x = saved[0]!;
      const slope =
        approximation === "tanh" ? geluTanhSlope : (t: Tensor) => geluSlope({ x: t }, {})[0]!;
      return { x: () => tf.mul(dy as Tensor, slope(x)) };
    },
  },
});

/** Gaussian error linear unit; `"tanh"` is the approximation that torch and Hugging Face call so. */
export function gelu(x: Tensor, approximation: "none" | "tanh" = "none"): Tensor {
  return callGelu({ x }, { approximation })[0]!;
}

const callSilu = definePrimitive("Silu", {
  inputs: ["x"],
  infer: like,
  reference: ({ x }) => tf.mul(x!, tf.sigmoid(x!)),
  gradient: {
    inputsToSave: ["x"],
    outputsToSave: [true],
    gradFunc: (dy, saved) => {
      const [x, y] = saved as [Tensor, Tensor];
      return { x: () => tf.mul(dy as Tensor, siluSlope(x, y)) };
    },
  },
});

/** Derivative of silu: `s + y (1 - s)` with s = sigmoid(x), y = x s. */
export function siluSlope(x: Tensor, y: Tensor): Tensor {
  const s = tf.sigmoid(x);
  return tf.add(s, tf.mul(y, tf.sub(1, s)));
}

/** `x * sigmoid(x)`, also called swish. */
export function silu(x: Tensor): Tensor {
  return callSilu({ x }, {})[0]!;
}
