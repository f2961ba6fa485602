import { availableParallelism } from "node:os";
import { AlignTokError } from "@aligntok/core";
import { lowerToOnnx } from "../onnx/lower.ts";
import { loadOnnxModel } from "./onnx-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { createWorkerSession } from "./worker-session.ts";

/** Loads a graph into ONNX Runtime's CPU engine, on this thread or in the worker thread. */
export async function createOnnxSession(
  { graph }: Pick<Program, "graph">,
  { threads = availableParallelism(), worker = false }: SessionOptions,
): Promise<Session> {
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value }));
  const free = graph.inputs.filter(({ array }) => !array);
  const bound = new Map(graph.inputs.flatMap(({ name, array }) => (array ? [[name, array]] : [])));
  const model = { bytes: lowerToOnnx(graph), bound, outputs, threads };
  try {
    if (worker) return await createWorkerSession(model, free);
    const loaded = await loadOnnxModel(model);
    return { run: loaded.run, dispose: () => void loaded.release() };
  } catch (error) {
    if (AlignTokError.isInstance(error)) throw error;
    // It checks types that tfjs's shapes do not tell: it has no sine of integers, for one.
    const reason = error instanceof Error ? error.message : String(error);
    throw new AlignTokError("unsupported", `onnxruntime refused the graph: ${reason}`, {
      cause: error,
    });
  }
}
