/** Operations that pick or place elements by numbers that are tensors themselves. */
import type { LoweringTable } from "./lower.ts";

const int32 = { type: "int32" } as const;

export const indexing: LoweringTable = {
  GatherV2: ({ attributes: { axis } }, [x, index], builder) =>
    builder.add(
      "GatherV2",
      [x!, index!, builder.scalar(axis as number, "int32")],
      {
        batch_dims: 0,
        Tparams: { type: builder.typeOf(x!) },
        Tindices: { type: "int32" },
        Taxis: { type: "int32" },
      },
      { typed: false },
    ),
  GatherNd: (_, [params, indices], builder) =>
    builder.add(
      "GatherNd",
      [params!, indices!],
      { Tparams: { type: builder.typeOf(params!) }, Tindices: int32 },
      { typed: false },
    ),
  ScatterNd: ({ outputs: [y] }, [indices, updates], builder) => {
    const { dtype, shape } = y!;
    const inputs = [indices!, updates!, builder.ints(shape)];
    return builder.add("ScatterNd", inputs, { T: { type: dtype }, Tindices: int32 }, { dtype });
  },
  TensorScatterUpdate: (_, inputs, builder) =>
    builder.add("TensorScatterUpdate", inputs, { Tindices: int32 }),
  OneHot: ({ attributes, outputs: [y] }, [indices], builder) => {
    const { depth, onValue, offValue } = attributes as {
      depth: number;
      onValue?: number;
      offValue?: number;
    };
    const dtype = y!.dtype;
    return builder.add(
      "OneHot",
      [
        indices!,
        builder.scalar(depth, "int32"),
        builder.scalar(onValue ?? 1, dtype),
        builder.scalar(offValue ?? 0, dtype),
      ],
      { T: { type: dtype }, TI: { type: "int32" }, axis: -1 },
      { dtype },
    );
  },
};
