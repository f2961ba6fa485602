/** A network applied to rows of any number, in batches: what encode, decode and features share. */
import { batchRanges, checkBatchSize, type NdArray, type Parameters, rows } from "@aligntok/core";
import { type EngineOptions, jit } from "@aligntok/jit";
import type { TensorParameters } from "@aligntok/nn";
import type { Tensor } from "@tensorflow/tfjs-core";

export interface RowFunctionOptions extends EngineOptions {
  /** Images that go through the networks at once; more are cut into batches. @default 8 */
  readonly batchSize?: number;
}

export interface RowFunction {
  /** Fills the rows of `outputs`; `inputs(start, end)` makes those of a batch. `fitted` are weights for their size. */
  run(
    inputs: (start: number, end: number) => NdArray<"float32">,
    outputs: NdArray<"float32">,
    options?: { readonly fitted?: Parameters },
  ): Promise<void>;
  dispose(): void;
}

interface Inputs {
  readonly params: TensorParameters;
  readonly fitted: TensorParameters;
  readonly x: Tensor;
}

/** Compiles `apply` with its weights when the first batch of a shape comes. */
export function createRowFunction(
  apply: (params: TensorParameters, x: Tensor) => Tensor,
  params: Parameters,
  { batchSize = 8, ...engine }: RowFunctionOptions,
): RowFunction {
  checkBatchSize(batchSize);
  const graph = jit(({ params, fitted, x }: Inputs) => apply({ ...params, ...fitted }, x), {
    ...engine,
    bind: { params },
  });

  return {
    async run(inputs, outputs, { fitted = {} } = {}) {
      for (const [start, end] of batchRanges(outputs.shape[0] ?? 0, batchSize)) {
        const x = inputs(start, end);
        await graph({ fitted, x }, { into: rows(outputs, start, end) });
      }
    },
    dispose: graph.dispose,
  };
}
