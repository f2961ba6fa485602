/** Threads that decode. */

import { type Transferable, Worker } from "node:worker_threads";
import { AlignTokError } from "@aligntok/core";
import { type DecodeTask, decodeTask, tasksAtOnce } from "./decode-input.ts";
import type { WorkerAnswer, WorkerRequest } from "./decode-worker.ts";
import type { Image } from "./image.ts";

export interface Decoder {
  /** Rejects with what `decodeImage` throws; `unavailable` or `out-of-memory` when the thread died of it. */
  decode(task: DecodeTask): Promise<Image>;
  /** What has not begun is left undone. */
  end(): void;
}

interface Job {
  readonly task: DecodeTask;
  resolve(image: Image): void;
  reject(error: unknown): void;
}

/** Where jobs run. */
interface Lane {
  /** Tasks that it takes at most before it has answered. */
  readonly depth: number;
  run(task: DecodeTask): Promise<Image>;
  end(): void;
}

interface Place {
  readonly lane: Lane;
  /** Tasks there. */
  busy: number;
}

/** `workers` threads, started as tasks come; with none, this thread. */
export function openDecoder(workers: number): Decoder {
  const waiting: Job[] = [];
  const lanes: Place[] = [];
  let ended = false;

  function open(): Place {
    const place = { lane: workers === 0 ? thisThread : startThread(), busy: 0 };
    lanes.push(place);
    return place;
  }

  function start({ task, resolve, reject }: Job, place: Place): void {
    place.busy++;
    const done = () => {
      place.busy--;
      next();
    };
    place.lane.run(task).then(resolve, reject).then(done);
  }

  function next(): void {
    while (!ended && waiting.length > 0) {
      let place = lanes.reduce<Place | undefined>(
        (best, each) => (best && best.busy <= each.busy ? best : each),
        undefined,
      );
      if (place?.busy !== 0 && lanes.length < Math.max(1, workers)) place = open();
      if (!place || place.busy >= place.lane.depth) return;
      start(waiting.shift()!, place);
    }
  }

  return {
    decode: (task) =>
      new Promise((resolve, reject) => {
        waiting.push({ task, resolve, reject });
        next();
      }),
    end() {
      ended = true;
      for (const { lane } of lanes) lane.end();
    },
  };
}

const thisThread: Lane = { depth: tasksAtOnce, run: decodeTask, end() {} };

function startThread(): Lane {
  const inSource = import.meta.url.endsWith(".ts");
  const worker = new Worker(new URL("./decode-worker.js", import.meta.url), {
    name: "aligntok-image",
    // not those of this process, which may be such as a thread refuses (--input-type)
    execArgv: inSource ? ["--conditions=@aligntok/source"] : [],
  });
  const pending = new Map<number, Pick<Job, "resolve" | "reject">>();
  let nextId = 0;
  let failure: AlignTokError | undefined;

  /** An idle thread does not keep the process alive, one at work does. */
  function settle(id: number): Pick<Job, "resolve" | "reject"> | undefined {
    const found = pending.get(id);
    pending.delete(id);
    if (pending.size === 0) worker.unref();
    return found;
  }

  function fail(code: "unavailable" | "out-of-memory", reason: string, cause?: unknown): void {
    failure ??= new AlignTokError(
      code,
      `decoding thread: expected it to go on, got ${reason}. decode fewer or smaller images at once, or with workers: 0`,
      { cause },
    );
    for (const id of [...pending.keys()]) settle(id)?.reject(failure);
  }

  worker.unref();
  worker.on("message", (answer: WorkerAnswer) => {
    const job = settle(answer.id);
    if ("image" in answer) job?.resolve(answer.image);
    else if (answer.code) job?.reject(new AlignTokError(answer.code, answer.message));
    else job?.reject(new Error(answer.message));
  });
  worker.on("error", (error: NodeJS.ErrnoException) => {
    const code = error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out-of-memory" : "unavailable";
    fail(code, `an end by ${error.message}`, error);
  });
  worker.on("exit", (code) => fail("unavailable", `an end with exit code ${code}`));

  return {
    // a network that blocks this thread for seconds hands out no tasks meanwhile
    depth: Number.POSITIVE_INFINITY,
    async run(task) {
      if (failure) throw failure;
      const { from } = task;
      // a copy of the bytes, which belong to the caller and may be a part of something larger
      const [sent, transferred] = "path" in from ? [from, []] : withOwnBytes(from);
      return new Promise((resolve, reject) => {
        const id = nextId++;
        pending.set(id, { resolve, reject });
        worker.ref();
        const request: WorkerRequest = { id, task: { ...task, from: sent } };
        worker.postMessage(request, transferred);
      });
    },
    end() {
      worker.postMessage("end" satisfies WorkerRequest);
      worker.unref();
    },
  };
}

function withOwnBytes(
  from: Exclude<DecodeTask["from"], { readonly path: string }>,
): [DecodeTask["from"], readonly Transferable[]] {
  if ("dtype" in from) {
    const data = Uint8Array.from(from.data);
    return [{ dtype: from.dtype, shape: from.shape, data }, [data.buffer]];
  }
  const bytes = Uint8Array.from(from.bytes);
  return [{ bytes }, [bytes.buffer]];
}
