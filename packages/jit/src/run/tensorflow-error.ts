/** What TensorFlow throws, as errors of ours: which operation, why, and what to do. */
import { AlignTokError } from "@aligntok/core";
import { outOfMemory } from "./out-of-memory.ts";

/** Of loading a graph. */
export function explainLoad(error: unknown): AlignTokError {
  const { reason } = partsOf(error);
  const message = reason.replace(/^Failed to load SavedModel: /, "");
  return new AlignTokError("unsupported", `tensorflow refused the graph: ${message}`, {
    cause: error,
  });
}

/** Of a run. */
export function explainRun(error: unknown): AlignTokError {
  const { reason, operation = "the graph" } = partsOf(error);
  const [, wanted] =
    /^OOM when allocating tensor with (shape\[\S*\] and type \w+)/.exec(reason) ?? [];
  if (wanted) return outOfMemory("run", `${wanted} at ${operation}`, error);
  return new AlignTokError(
    "bad-input",
    `run: tensorflow failed at ${operation}: ${reason}. check the values of the inputs`,
    { cause: error },
  );
}

/** The first line says why, a later one names the node: an operation and a number. */
function partsOf(error: unknown) {
  const message = error instanceof Error ? error.message : String(error);
  const reason = message.split("\n")[0]!.replace(/^Session fail to run with error: /, "");
  const operation = /\{\{node (?:\S*\/)?(\w+?)(?:_\d+)?\}\}/.exec(message)?.[1];
  return { reason, operation };
}
