/** A network applied to rows of any number, in batches: what encode, decode and features share. */
import { check, type NdArray, type Parameters, rows } from "@aligntok/core";
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
  check(
    Number.isInteger(batchSize) && batchSize >= 1,
    () => `batchSize: expected a positive whole number, got ${batchSize}`,
  );
  const graph = jit(({ params, fitted, x }: Inputs) => apply({ ...params, ...fitted }, x), {
    ...engine,
    bind: { params },
  });

  return {
    async run(inputs, outputs, { fitted = {} } = {}) {
      const count = outputs.shape[0] ?? 0;
      for (let start = 0; start < count; ) {
        // rest batches are powers of two, so that few graphs serve every count
        const left = count - start;
        const size = left >= batchSize ? batchSize : 2 ** Math.floor(Math.log2(left));
        const x = inputs(start, start + size);
        const into = rows(outputs, start, start + size);
        await graph({ fitted, x }, { into });
        start += size;
      }
    },
    dispose: graph.dispose,
  };
}
