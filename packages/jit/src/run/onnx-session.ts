import { availableParallelism } from "node:os";
import type { GraphInput } from "../graph/graph.ts";
import { lowerToOnnx } from "../onnx/lower.ts";
import { channelBlock } from "./channel-block.ts";
import { requireDevice } from "./devices.ts";
import { explainLoad, explainRun } from "./onnx-error.ts";
import { loadOnnxModel, type OnnxModel } from "./onnx-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { createWorkerSession } from "./worker-session.ts";

/** Loads a graph into ONNX Runtime, on this thread or in the worker thread. */
export async function createOnnxSession(
  { graph }: Pick<Program, "graph">,
  { threads = availableParallelism(), worker = false, device = "cpu" }: SessionOptions,
): Promise<Session> {
  await requireDevice(device);
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value }));
  const free = graph.inputs.filter(({ array }) => !array);
  const bound = new Map(graph.inputs.flatMap(({ name, array }) => (array ? [[name, array]] : [])));
  const bytes = lowerToOnnx(graph, { channelBlock: device === "cpu" ? await channelBlock() : 0 });
  const model = { bytes, bound, outputs, threads, device };
  const session = await load(model, worker ? free : undefined);
  return {
    async run(feeds, into, signal) {
      try {
        return await session.run(feeds, into, signal);
      } catch (error) {
        if (signal?.aborted) throw error;
        throw explainRun(error, new Map([...bound, ...feeds, ...into]));
      }
    },
    dispose: session.dispose,
  };
}

/** In the worker thread where its inputs are told, otherwise here. */
async function load(
  model: OnnxModel,
  workerInputs: readonly GraphInput[] | undefined,
): Promise<Session> {
  try {
    if (workerInputs) return await createWorkerSession(model, workerInputs);
    const { run, release } = await loadOnnxModel(model);
    return { run, dispose: () => void release() };
  } catch (error) {
    throw explainLoad(error);
  }
}
