import { access, constants, mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { AlignTokError } from "@aligntok/core";
import type { GraphInput } from "../graph/graph.ts";
import { lowerToOnnx } from "../onnx/lower.ts";
import { AFTER } from "../passes/recompute.ts";
import { channelBlock } from "./channel-block.ts";
import { requireDevice } from "./devices.ts";
import { largestWeight } from "./largest-weight.ts";
import { mapWeights } from "./mapped-weights.ts";
import { explainLoad, explainRun } from "./onnx-error.ts";
import { loadOnnxModel, type OnnxModel } from "./onnx-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { createWorkerSession } from "./worker-session.ts";

/** Loads a graph into ONNX Runtime, on this thread or in the worker thread. */
export async function createOnnxSession(
  { graph }: Pick<Program, "graph">,
  { threads = availableParallelism(), worker = false, device = "cpu", cache }: SessionOptions,
): Promise<Session> {
  await requireDevice(device);
  if (cache !== undefined) await makeFolder(cache);
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value }));
  const free = graph.inputs.filter(({ array }) => !array);
  const mapped = device === "cpu" ? mapWeights(graph) : undefined;
  const bound = new Map(
    graph.inputs.flatMap(({ name, array }) =>
      array && !mapped?.ranges.has(name) ? [[name, array]] : [],
    ),
  );
  const block = await channelBlock();
  const recomputes = graph.nodes.some(({ op }) => op === AFTER);
  const isInt8 = graph.nodes.some(({ op }) => op === "QuantizedLinear");
  const bytes = lowerToOnnx(graph, {
    channelBlock: device === "cpu" ? block : 0,
    ...(isInt8 && { largestWeight: await largestWeight() }),
    external: mapped?.ranges,
  });
  const model = {
    bytes,
    bound,
    folder: mapped?.folder,
    outputs,
    // it takes what waits, a reshape, for one with the reshape before it, and stumbles over its other input
    withoutOptimizers: recomputes ? ["ReshapeFusion"] : [],
    sparing: recomputes,
    threads,
    device,
    // the optimised graph would hold mapped weights themselves
    cache: mapped || cache === undefined ? undefined : { folder: cache, channelBlock: block },
  };
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

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new AlignTokError(
      "io",
      `cache: expected a folder that can be written, got ${path} (${code}). choose another`,
      { cause: error },
    );
  }
}

/** In the worker thread where its inputs are told, otherwise here. */
async function load(
  model: OnnxModel,
  workerInputs: readonly GraphInput[] | undefined,
): Promise<Session> {
  try {
    if (workerInputs) return await createWorkerSession(model, workerInputs);
    const { run, release } = await loadOnnxModel(model);
    return { run, dispose: () => void release().catch(() => {}) }; // see Session.dispose
  } catch (error) {
    throw explainLoad(error);
  }
}
