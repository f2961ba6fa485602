import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Infer } from "../trace/kernel.ts";
import { definePrimitive } from "./primitive.ts";

const like: Infer = ([x]) => ({ shape: x!.shape, dtype: "float32" });

// The tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** Standard normal distribution function, or its tanh approximation. */
function gate(x: Tensor, approximation: unknown): Tensor {
  const inner =
    approximation === "tanh"
      ? tf.tanh(tf.mul(tf.mul(x, tanhScale), tf.add(tf.mul(tf.square(x), tanhCubic), 1)))
      : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.add(inner, 1), 0.5);
}

const callGelu = definePrimitive("Gelu", {
  inputs: ["x"],
  infer: like,
  reference: ({ x }, { approximation }) => tf.mul(x!, gate(x!, approximation)),
  gradient: {
    inputsToSave: ["x"],
    gradFunc: (dy, saved, { approximation }) => ({
      x: () => {
        const x = saved[0]!;
        if (approximation !== "tanh") {
          // gate + x exp(-x^2 / 2) / sqrt(2 pi)
          const bell = tf.exp(tf.mul(tf.square(x), -0.5));
          const slope = tf.mul(tf.mul(x, 1 / Math.sqrt(2 * Math.PI)), bell);
          return tf.mul(dy as Tensor, tf.add(gate(x, approximation), slope));
        }
        // gate + x * 2 gate (1 - gate) * inner'
        const g = gate(x, approximation);
        const inner = tf.add(tf.mul(tf.square(x), 3 * tanhCubic * tanhScale), tanhScale);
        const slope = tf.mul(tf.mul(tf.mul(x, 2), inner), tf.mul(g, tf.sub(1, g)));
        return tf.mul(dy as Tensor, tf.add(g, slope));
      },
    }),
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
