/** What ONNX Runtime throws, as errors of ours: which operation, why, and what to do. */
import { AlignTokError } from "@aligntok/core";
import type { Arrays } from "./onnx-model.ts";
import { gigabytes, outOfMemory } from "./out-of-memory.ts";
import { isShared } from "./staging.ts";

/** Of loading a graph. It checks types that tfjs's shapes do not tell: it has no sine of integers, for one. */
export function explainLoad(error: unknown): unknown {
  if (AlignTokError.isInstance(error)) return error;
  const message = messageOf(error);
  if (isAllocation(message)) return explainAllocation("compile", error);
  return new AlignTokError("unsupported", `onnxruntime refused the graph: ${message}`, {
    cause: error,
  });
}

/** Of a run on these arrays. */
export function explainRun(error: unknown, arrays: Arrays): unknown {
  if (AlignTokError.isInstance(error)) return error;
  const message = messageOf(error);
  if (isAllocation(message)) return explainAllocation("run", error);
  const shared = [...arrays].find(([, { data }]) => isShared(data));
  if (message === "Invalid argument" && shared) {
    return new AlignTokError(
      "bad-input",
      `${shared[0].replace(/^out:/, "into ")}: expected memory of this thread, got a SharedArrayBuffer, which onnxruntime cannot read on Node ${process.versions.node}. compile with worker: true, or copy it`,
      { cause: error },
    );
  }
  const [, operation = "the graph", reason = message] = failure.exec(message) ?? [];
  return new AlignTokError(
    "bad-input",
    `run: onnxruntime failed at ${operation}: ${withoutSource(reason)}. check the values of the inputs`,
    { cause: error },
  );
}

const failure =
  /^Non-zero status code returned while running (\w+) node\. .*?Status Message: (.*)$/s;
const request = /Failed to allocate memory for requested buffer of size (\d+)/;

function isAllocation(message: string): boolean {
  return (
    request.test(message) || /bad_alloc|Array buffer allocation failed|out of memory/i.test(message)
  );
}

function explainAllocation(what: string, error: unknown): AlignTokError {
  const message = messageOf(error);
  const [, bytes] = request.exec(message) ?? [];
  const [, operation] = failure.exec(message) ?? [];
  const room = bytes ? gigabytes(Number(bytes)) : "all arrays";
  return outOfMemory(what, operation ? `${room} more at ${operation}` : room, error);
}

/** Without the place in its own source that a message may begin with: `/onnxruntime_src/....cc:360 void* f(int) `. */
function withoutSource(reason: string): string {
  return reason.replace(/^\S*\/onnxruntime_src\/\S+:\d+ .*?\) /s, "").replace(/\.$/, "");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
