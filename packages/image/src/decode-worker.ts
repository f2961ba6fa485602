/** A thread that decodes: it answers tasks until it is told to end. */

import { parentPort } from "node:worker_threads";
import { AlignTokError, type ErrorCode } from "@aligntok/core";
import sharp from "sharp";
import { type DecodeTask, decodeTask, tasksAtOnce } from "./decode-input.ts";
import type { Image } from "./image.ts";

export type WorkerRequest = { readonly id: number; readonly task: DecodeTask } | "end";

/** `code` is that of an AlignTokError; other errors have none. */
export type WorkerAnswer =
  | { readonly id: number; readonly image: Image }
  | { readonly id: number; readonly message: string; readonly code?: ErrorCode };

// no image comes twice, and the threads are the parallelism
sharp.cache(false);
sharp.concurrency(1);

const port = parentPort!;
const waiting: Exclude<WorkerRequest, "end">[] = [];
let busy = 0;

port.on("message", (request: WorkerRequest) => {
  if (request === "end") {
    waiting.length = 0;
    port.close();
    return;
  }
  waiting.push(request);
  begin();
});

function begin(): void {
  while (busy < tasksAtOnce && waiting.length > 0) void answer(waiting.shift()!);
}

async function answer({ id, task }: Exclude<WorkerRequest, "end">): Promise<void> {
  busy++;
  try {
    const image = await decodeTask(task);
    port.postMessage({ id, image } satisfies WorkerAnswer, [image.data.buffer as ArrayBuffer]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = AlignTokError.isInstance(error) ? { code: error.code } : {};
    port.postMessage({ id, message, ...code } satisfies WorkerAnswer);
  }
  busy--;
  begin();
}
