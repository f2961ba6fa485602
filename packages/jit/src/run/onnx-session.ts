import { availableParallelism } from "node:os";
import { AlignTokError, type NdArray } from "@aligntok/core";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { lowerToOnnx } from "../onnx/lower.ts";
import type { Program, Session, SessionOptions } from "./session.ts";

/** Loads a graph into ONNX Runtime's CPU engine. The native library is loaded only here, not on import. */
export async function createOnnxSession(
  { graph }: Pick<Program, "graph">,
  { threads = availableParallelism() }: SessionOptions,
): Promise<Session> {
  const ort = await import("onnxruntime-node");
  const toTensor = ({ dtype, shape, data }: NdArray): Tensor =>
    new ort.Tensor(dtype as "float32", data as Float32Array, shape);
  const session = await createSession(ort.InferenceSession, lowerToOnnx(graph), {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    // A planned block for all activations comes on top of what the first run took piece by piece, nearly twice the
    // memory, and is fetched afresh at each run: page faults that cost more than it saves.
    enableMemPattern: false,
    // Threads that wait sleep: as fast alone, and several times as fast where other work shares the cores.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    logSeverityLevel: 4, // fatal: what goes wrong is thrown as well
  });
  const bound = graph.inputs.flatMap(({ name, array }) =>
    array ? [[name, toTensor(array)] as const] : [],
  );
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value }));
  return {
    async run(feeds, into) {
      const given: Record<string, Tensor> = Object.fromEntries(bound);
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

/** ONNX Runtime checks types that tfjs's shapes do not tell: it has no sine of integers, for one. */
async function createSession(
  sessions: typeof InferenceSession,
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  try {
    return await sessions.create(model, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AlignTokError("unsupported", `onnxruntime refused the graph: ${reason}`, {
      cause: error,
    });
  }
}
