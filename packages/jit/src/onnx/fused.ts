/** Matrix products, and our primitives in the fused forms that ONNX Runtime has. */
import { sizeOf } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import type { PoolAttributes } from "../primitives/pool.ts";
import { elementTypes, MICROSOFT, type OnnxBuilder } from "./builder.ts";
import { lowerConv, lowerInputGradient, lowerWeightGradient } from "./conv.ts";
import type { LoweringTable } from "./lower.ts";

/** A last axis of ones: ONNX's layer norms insist on a weight. */
function onesFor(x: Value, builder: OnnxBuilder): string {
  return builder.add("Expand", [builder.scalar(1), builder.ints([x.shape.at(-1)!])]);
}

export const fused: LoweringTable = {
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
    if (a!.dtype === "int32") {
      // ONNX Runtime multiplies integers, but only in this form.
      const plain = ([x, value]: [string, Value], transposed: boolean) => {
        const perm = value.shape.map((_, i) => i);
        return transposed
          ? builder.add("Transpose", [x], {
              perm: [...perm.slice(0, -2), perm.at(-1)!, perm.at(-2)!],
            })
          : x;
      };
      const factors = [plain([left!, a!], transposeA), plain([right!, b!], transposeB)];
      return builder.add("MatMul", factors);
    }
    const flags = {
      transA: transposeA ? 1 : 0,
      transB: transposeB ? 1 : 0,
      alpha: { float: alpha },
    };
    if (a!.shape.length === 2 && b!.shape.length === 2)
      return builder.add("Gemm", [left, right], flags);
    if (!transposeA && !transposeB && alpha === 1) return builder.add("MatMul", [left, right]);
    return builder.add("FusedMatMul", [left, right], flags, { domain: MICROSOFT });
  },

  Linear: ({ inputs: [x, weight], outputs: [y] }, [input, matrix, bias], builder) => {
    const flat = x!.shape.length === 2;
    const rows = sizeOf(x!.shape.slice(0, -1));
    const from = flat
      ? input
      : builder.add("Reshape", [input, builder.ints([rows, x!.shape.at(-1)!])]);
    const product = builder.add("Gemm", bias ? [from, matrix, bias] : [from, matrix], {
      transB: weight ? 1 : 0,
    });
    return flat ? product : builder.add("Reshape", [product, builder.ints(y!.shape)]);
  },

  LayerNorm: ({ attributes }, inputs, builder) =>
    builder.add("LayerNormalization", inputs, {
      axis: -1,
      epsilon: { float: attributes.epsilon as number },
    }),
  Standardize: ({ attributes, inputs: [x] }, [input], builder) => {
    const normal = builder.add(
      "LayerNormalization",
      [input, onesFor(x!, builder)],
      { axis: -1, epsilon: { float: attributes.epsilon as number } },
      { outputs: 3 },
    );
    return [normal, `${normal}_2`];
  },
  StandardizeRms: ({ attributes, inputs: [x] }, [input], builder) => {
    const normal = builder.add(
      "SimplifiedLayerNormalization",
      [input, onesFor(x!, builder)],
      { axis: -1, epsilon: { float: attributes.epsilon as number } },
      { outputs: 2 },
    );
    return [normal, `${normal}_1`];
  },
  RmsNorm: ({ attributes }, inputs, builder) =>
    builder.add("SimplifiedLayerNormalization", inputs, {
      axis: -1,
      epsilon: { float: attributes.epsilon as number },
    }),

  // A batch norm with known statistics is the one operation that scales and shifts channels in one pass.
  ChannelAffine: ({ inputs: [x] }, [image, scale, shift], builder) => {
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const vector = (name: string) => builder.add("Reshape", [name, builder.ints([n * c])]);
    const all = (value: number) =>
      builder.add("Expand", [builder.scalar(value), builder.ints([n * c])]);
    const rows = builder.add("Reshape", [image, builder.ints([1, n * c, h * w])]);
    const made = builder.add(
      "BatchNormalization",
      [rows, vector(scale!), vector(shift!), all(0), all(1)],
      { epsilon: { float: 0 } },
    );
    return builder.add("Reshape", [made, builder.ints(x!.shape)]);
  },

  Gelu: ({ attributes }, [x], builder) =>
    builder.add("Gelu", [x], { approximate: attributes.approximation as string }),
  // (1 + erf(t)) / 2 + t / (sqrt(pi) exp(t^2)) with t = x / sqrt(2). HardSigmoid is the first sum in one pass, and
  // dividing saves that of -t^2; far out exp is infinite, and the quotient 0 as it should be.
  GeluSlope: (_, [x], builder) => {
    const t = builder.add("Mul", [x, builder.scalar(Math.SQRT1_2)]);
    const gate = builder.add("HardSigmoid", [builder.add("Erf", [t])], {
      alpha: { float: 0.5 },
      beta: { float: 0.5 },
    });
    const bell = builder.add("Exp", [builder.add("Mul", [t, t])]);
    const scaled = builder.add("Mul", [t, builder.scalar(1 / Math.sqrt(Math.PI))]);
    return builder.add("Add", [gate, builder.add("Div", [scaled, bell])]);
  },
  Silu: (_, [x], builder) =>
    builder.add("QuickGelu", [x], { alpha: { float: 1 } }, { domain: MICROSOFT }),

  Attention: ({ attributes }, [q, k, v, bias], builder) => {
    const products = builder.add(
      "FusedMatMul",
      [q, k],
      { transB: 1, alpha: { float: attributes.scale as number } },
      { domain: MICROSOFT },
    );
    const scores = bias ? builder.add("Add", [products, bias]) : products;
    const probabilities = builder.add("Softmax", [scores], { axis: -1 });
    return [builder.add("MatMul", [probabilities, v]), probabilities];
  },

  // One batch whose heads are all leading axes; positions count from 0.
  Rope: ({ attributes, inputs: [x], outputs: [y] }, [input, cos, sin], builder) => {
    const [rows, width] = x!.shape.slice(-2) as [number, number];
    const heads = sizeOf(x!.shape) / (rows * width);
    const turned = builder.add(
      "RotaryEmbedding",
      [
        builder.add("Reshape", [input, builder.ints([1, heads, rows, width])]),
        builder.ints([0]),
        cos,
        sin,
      ],
      { interleaved: attributes.interleaved ? 1 : 0 },
      { domain: MICROSOFT },
    );
    return builder.add("Reshape", [turned, builder.ints(y!.shape)]);
  },

  Conv2d: lowerConv,
  Conv2dInputGradient: lowerInputGradient,
  Conv2dWeightGradient: lowerWeightGradient,

  UpsampleNearest: ({ attributes }, [x], builder) => {
    const factor = attributes.factor as number;
    const scales = builder.constant(Float32Array.of(1, 1, factor, factor), {
      shape: [4],
      dtype: "float32",
    });
    return builder.add("Resize", [x, "", scales], {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    });
  },
  AveragePool2d: ({ attributes }, [x], builder) =>
    builder.add("AveragePool", [x], {
      ...onnxPoolAttributes(attributes),
      count_include_pad: attributes.includePadding ? 1 : 0,
    }),
  MaxPool2d: ({ attributes }, [x], builder) =>
    builder.add("MaxPool", [x], onnxPoolAttributes(attributes)),
  MaxPool2dIndices: ({ attributes }, [x], builder) => {
    const pooled = builder.add("MaxPool", [x], onnxPoolAttributes(attributes), { outputs: 2 });
    return builder.add("Cast", [`${pooled}_1`], { to: elementTypes.int32 });
  },
  ResizeBilinear2d: ({ attributes, outputs: [y] }, [x], builder) =>
    builder.add("Resize", [x, "", "", builder.ints(y!.shape)], {
      mode: "linear",
      coordinate_transformation_mode: (attributes.coordinates as string).replace("-", "_"),
    }),
};

function onnxPoolAttributes(attributes: object) {
  const { kernel, stride, padding } = attributes as PoolAttributes;
  return { kernel_shape: [...kernel], strides: [...stride], pads: [...padding] };
}
