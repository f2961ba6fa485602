import type { NdArray } from "@aligntok/core";
import type { GraphInput } from "../graph/graph.ts";
import type { OnnxModel } from "./onnx-model.ts";
import type { StagedResult } from "./onnx-worker.ts";
import type { Session } from "./session.ts";
import { isShared, layOut, type SharedBytes, viewPlaces } from "./staging.ts";
import { unlessAborted } from "./unless-aborted.ts";
import { enterThread, leaveThread } from "./worker-thread.ts";

let nextModel = 0;

/**
 * Loads a model in the worker thread, so that this one stays free while it runs.
 *
 * The caller's arrays are neither given away nor shared: inputs are copied into a buffer that goes to the thread
 * and comes back with the outputs that have a target. It is the same memory at every run, for fresh memory
 * costs more than the copy. Outputs without a target are handed over as they are.
 */
export async function createWorkerSession(
  { bound, ...onnx }: OnnxModel,
  free: readonly GraphInput[],
): Promise<Session> {
  const thread = enterThread();
  const model = nextModel++;
  const inputs = layOut(free, 0);
  let buffer: ArrayBuffer | undefined;
  /** Settles when the thread is done with this model, whether or not anybody waits for the result. */
  let work: Promise<unknown> = Promise.resolve();

  function holdOrLeave(): ReturnType<typeof thread.arrays.hold> {
    try {
      return thread.arrays.hold(bound);
    } catch (error) {
      leaveThread(thread);
      throw error;
    }
  }

  function leave(): void {
    void work
      .then(() => thread.ask({ task: "release", model, arrays: thread.arrays.release(bound) }))
      .catch(() => {}) // a thread that has failed holds nothing
      .then(() => leaveThread(thread));
  }

  async function run(
    feeds: ReadonlyMap<string, NdArray>,
    into: ReadonlyMap<string, NdArray>,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<string, NdArray>> {
    const wanted = onnx.outputs.filter(({ name }) => into.has(name));
    const { places: targets, end } = layOut(wanted, inputs.end);
    const staged = buffer && buffer.byteLength >= end ? buffer : new ArrayBuffer(end);
    buffer = undefined; // not ours until it returns
    const shared: SharedBytes[] = [];
    const views = viewPlaces(staged, inputs.places);
    for (const { name, offset } of inputs.places) {
      const { data } = feeds.get(name)!;
      if (isShared(data)) shared.push({ bytes: bytesOf(data), offset });
      else copy(data, views.get(name)!.data);
    }
    const result = (await thread.ask(
      { task: "run", model, run: { buffer: staged, feeds: inputs.places, into: targets, shared } },
      [staged],
    )) as StagedResult;
    buffer = result.buffer;
    if (result.error !== undefined) throw new Error(result.error);
    if (signal?.aborted) return into; // nobody waits, and the targets may have another use by now
    for (const [name, { data }] of viewPlaces(buffer, targets)) copy(data, into.get(name)!.data);
    return new Map([...result.made, ...into]);
  }

  const { numbers, copies } = holdOrLeave();
  try {
    const task = { task: "load", model, onnx, bound: numbers, arrays: copies } as const;
    await thread.ask(
      task,
      Array.from(copies.values(), ({ data }) => data.buffer as ArrayBuffer),
    );
  } catch (error) {
    leave();
    throw error;
  }
  return {
    async run(feeds, into, signal) {
      await unlessAborted(work, signal); // the rest of a run that was given up
      const running = run(feeds, into, signal);
      work = running.catch(() => {});
      return unlessAborted(running, signal);
    },
    dispose: leave,
  };
}

function copy(from: NdArray["data"], to: NdArray["data"]): void {
  (to as Float32Array).set(from as Float32Array);
}

function bytesOf({ buffer, byteOffset, byteLength }: NdArray["data"]): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
