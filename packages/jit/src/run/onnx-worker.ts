/** The worker thread: models of ONNX Runtime, which answers to messages load, run and release. */
import { parentPort, workerData } from "node:worker_threads";
import type { NdArray } from "@aligntok/core";
import { openGate } from "./exit-gate.ts";
import { type LoadedModel, loadOnnxModel, type OnnxModel } from "./onnx-model.ts";
import { type Place, type SharedBytes, viewPlaces } from "./staging.ts";

/** What the thread is asked to do; `model` is a number that the other side chooses. */
export type WorkerTask =
  | LoadTask
  | { readonly task: "run"; readonly model: number; readonly run: StagedRun }
  /** `arrays` are bound to no model any longer. */
  | { readonly task: "release"; readonly model: number; readonly arrays: readonly number[] };

export interface LoadTask {
  readonly task: "load";
  readonly model: number;
  readonly onnx: Omit<OnnxModel, "bound">;
  /** Which of the arrays in the thread each bound input is. */
  readonly bound: ReadonlyMap<string, number>;
  /** Arrays that are new in the thread. */
  readonly arrays: ReadonlyMap<number, NdArray>;
}

/** Arrays of a run: places in one buffer that goes to and fro. */
export interface StagedRun {
  readonly buffer: ArrayBuffer;
  readonly feeds: readonly Place[];
  /** Outputs to be written into the buffer; the others are new arrays. */
  readonly into: readonly Place[];
  /** Feeds that are still to be copied to their place. */
  readonly shared: readonly SharedBytes[];
}

/** What a run gives back. */
export interface StagedResult {
  readonly buffer: ArrayBuffer;
  /** Outputs that are not in the buffer. */
  readonly made: ReadonlyMap<string, NdArray>;
  /** ONNX Runtime's message, where it failed. */
  readonly error?: string;
}

const models = new Map<number, LoadedModel>();
const held = new Map<number, NdArray>();

async function load({ model, onnx, bound, arrays }: LoadTask): Promise<void> {
  for (const [number, array] of arrays) held.set(number, array);
  const inputs = new Map(Array.from(bound, ([name, number]) => [name, held.get(number)!]));
  models.set(model, await loadOnnxModel({ ...onnx, bound: inputs }));
}

async function run(model: number, staged: StagedRun): Promise<StagedResult> {
  const { buffer, feeds, into, shared } = staged;
  for (const { bytes, offset } of shared) new Uint8Array(buffer).set(bytes, offset);
  try {
    const outputs = await models
      .get(model)!
      .run(viewPlaces(buffer, feeds), viewPlaces(buffer, into));
    for (const { name } of into) outputs.delete(name);
    return { buffer, made: outputs };
  } catch (error) {
    return { buffer, made: new Map(), error: messageOf(error) };
  }
}

async function answer(request: WorkerTask): Promise<readonly [unknown, ArrayBuffer[]]> {
  const { task, model } = request;
  if (task === "load") {
    await load(request);
    return [undefined, []];
  }
  if (task === "run") {
    const result = await run(model, request.run);
    const made = [...result.made.values()].map(({ data }) => data.buffer as ArrayBuffer);
    return [result, [result.buffer, ...made]];
  }
  for (const number of request.arrays) held.delete(number);
  const released = models.get(model);
  models.delete(model);
  await released?.release();
  return [undefined, []];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const gate = openGate(workerData as SharedArrayBuffer);
parentPort!.on("message", async ({ id, request }: { id: number; request: WorkerTask }) => {
  if (!gate.enter()) return; // the process ends
  try {
    const [value, transferred] = await answer(request);
    parentPort!.postMessage({ id, value }, transferred);
  } catch (error) {
    parentPort!.postMessage({ id, error: messageOf(error) });
  } finally {
    gate.leave();
  }
});
