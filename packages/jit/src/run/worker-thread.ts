import { type Transferable, Worker } from "node:worker_threads";
import { AlignTokError } from "@aligntok/core";
import { createGateMemory, openGate } from "./exit-gate.ts";
import { createHeldArrays, type HeldArrays } from "./held-arrays.ts";
import type { WorkerTask } from "./onnx-worker.ts";

/**
 * One thread for all models of a process: they would compete for the same cores, bound weights lie in it once
 * however many models use them, and a second thread would cost 12 MB and 35 ms. It lives while it holds a model.
 */
interface Thread {
  /** Posts a task; settles with its answer. What a task changes in the arrays held there is done before the next begins. */
  ask(request: WorkerTask, transferred?: readonly Transferable[]): Promise<unknown>;
  /** What is bound to its models. */
  readonly arrays: HeldArrays;
  /** How many sessions live in it. */
  sessions: number;
  end(): void;
}

let current: Thread | undefined;

/** The thread of this process, started if need be. Each call is to be followed by one of `leaveThread`. */
export function enterThread(): Thread {
  current ??= startThread();
  current.sessions++;
  return current;
}

/** The thread ends with its last session. */
export function leaveThread(thread: Thread): void {
  thread.sessions--;
  if (thread.sessions > 0) return;
  if (current === thread) current = undefined;
  thread.end();
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

function startThread(): Thread {
  const memory = createGateMemory();
  const gate = openGate(memory);
  process.once("exit", gate.close);
  const worker = new Worker(new URL("./onnx-worker.js", import.meta.url), {
    name: "aligntok-jit",
    workerData: memory,
    execArgv: [], // flags of this process may be such as a thread refuses (--input-type)
  });
  const pending = new Map<number, Pending>();
  let nextId = 0;
  let failure: AlignTokError | undefined;

  /** An idle thread does not keep the process alive, one at work does. */
  function settle(id: number): Pending | undefined {
    const found = pending.get(id);
    pending.delete(id);
    if (pending.size === 0) worker.unref();
    return found;
  }

  function fail(reason: string, cause?: unknown): void {
    failure ??= new AlignTokError(
      "unavailable",
      `worker thread: ${reason}. compile again, or compile without worker`,
      { cause },
    );
    if (current === thread) current = undefined;
    for (const id of [...pending.keys()]) settle(id)?.reject(failure);
  }

  worker.unref();
  worker.on("message", ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
    if (error === undefined) settle(id)?.resolve(value);
    else settle(id)?.reject(new Error(error));
  });
  worker.on("error", (error: Error) => fail(`it failed with ${error.message}`, error));
  worker.on("exit", (code) => {
    process.off("exit", gate.close);
    fail(`it ended with exit code ${code}`);
  });

  const thread: Thread = {
    arrays: createHeldArrays(),
    sessions: 0,
    async ask(request, transferred = []) {
      if (failure) throw failure;
      const id = nextId++;
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        worker.ref();
        worker.postMessage({ id, request }, transferred);
      });
    },
    end: () => void worker.terminate(),
  };
  return thread;
}
