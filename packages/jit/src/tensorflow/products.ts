/** Matrix products. */
import { sizeOf } from "@aligntok/core";
import type { LoweringTable } from "./lower.ts";

export const products: LoweringTable = {
  BatchMatMul: ({ attributes, inputs: [a, b] }, [left, right], builder) => {
    const {
      transposeA,
      transposeB,
      alpha = 1,
    } = attributes as {
      transposeA: boolean;
      transposeB: boolean;
      alpha?: number;
    };
    const flat = a!.shape.length === 2 && b!.shape.length === 2;
    const product = flat
      ? builder.product("MatMul", [left!, right!], {
          transpose_a: transposeA,
          transpose_b: transposeB,
        })
      : builder.product("BatchMatMulV2", [left!, right!], { adj_x: transposeA, adj_y: transposeB });
    return alpha === 1 ? product : builder.add("Mul", [product, builder.scalar(alpha)]);
  },

  Linear: ({ inputs: [x], outputs: [y] }, [input, matrix, bias], builder) => {
    const flat = x!.shape.length === 2;
    const rows = sizeOf(x!.shape.slice(0, -1));
    const from = flat
      ? input!
      : builder.add("Reshape", [input!, builder.ints([rows, x!.shape.at(-1)!])]);
    const product = builder.product("MatMul", [from, matrix!], {
      transpose_a: false,
      transpose_b: true,
    });
    const biased = bias ? builder.add("BiasAdd", [product, bias]) : product;
    return flat ? biased : builder.add("Reshape", [biased, builder.ints(y!.shape)]);
  },
};
