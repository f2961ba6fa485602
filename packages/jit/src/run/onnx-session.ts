import { availableParallelism } from "node:os";
import type { NdArray } from "@aligntok/core";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Graph } from "../graph/graph.ts";
import type { CompileOptions, Session } from "./compile.ts";

/** Loads a model into ONNX Runtime's CPU engine. */
export async function createOnnxSession(
  model: Uint8Array,
  graph: Graph,
  { threads = availableParallelism() }: CompileOptions,
): Promise<Session> {
  const session = await InferenceSession.create(model, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value }));
  return {
    async run(feeds, into) {
      const given: Record<string, Tensor> = {};
      // An input that the optimised graph does not use is still declared, so it must be fed.
      for (const [name, array] of feeds) given[name] = toTensor(array);
      const fetches: Record<string, Tensor | null> = {};
      for (const { name } of outputs) {
        const target = into.get(name);
        fetches[name] = target ? toTensor(target) : null;
      }
      const results = await session.run(given, fetches);
      return new Map(
        outputs.map(({ name, value }) => {
          const data = results[name]!.data;
          return [
            name,
            into.get(name) ?? ({ dtype: value.dtype, shape: value.shape, data } as NdArray),
          ];
        }),
      );
    },
    dispose: () => {
      void session.release();
    },
  };
}

function toTensor({ dtype, shape, data }: NdArray): Tensor {
  return new Tensor(dtype as "float32", data as Float32Array, shape);
}
