/** Matrix products. */
import { check } from "@aligntok/core";
import { backend_util } from "@tensorflow/tfjs-core";
import { defineKernel } from "../kernel.ts";
import { checkTypes } from "./arguments.ts";

defineKernel("BatchMatMul", {
  inputs: ["a", "b"],
  attributes: ({ transposeA, transposeB }) => ({
    transposeA: transposeA === true,
    transposeB: transposeB === true,
  }),
  infer: ([a, b], { transposeA, transposeB }) => {
    checkTypes("MatMul", [a, b], "float32", "int32");
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
