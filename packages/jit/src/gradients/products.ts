/** Gradient of the batched matrix product, for every combination of transposed operands. */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { unbroadcast } from "./elementwise.ts";

tf.registerGradient({
  kernelName: "BatchMatMul",
  inputsToSave: ["a", "b"],
  gradFunc: (dy, saved, { transposeA, transposeB }) => {
    const [a, b] = saved as [Tensor, Tensor];
    const d = dy as Tensor;
    return {
      a: () =>
        unbroadcast(
          transposeA
            ? tf.matMul(b, d, transposeB as boolean, true)
            : tf.matMul(d, b, false, !transposeB),
          a.shape,
        ),
      b: () =>
        unbroadcast(
          transposeB
            ? tf.matMul(d, a, true, transposeA as boolean)
            : tf.matMul(a, d, !transposeA, false),
          b.shape,
        ),
    };
  },
});
