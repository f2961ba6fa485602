import type { EngineName, EngineOptions } from "@aligntok/jit";

/** How commands run graphs: in a worker thread where the engine can, so that progress and Ctrl-C come through. */
export function engineOptions({
  engine,
  threads,
}: {
  readonly engine: EngineName;
  readonly threads?: number;
}): EngineOptions {
  return { engine, worker: engine === "onnxruntime", ...(threads !== undefined && { threads }) };
}
