import { AlignTokError } from "@aligntok/core";

/** What `work` gives; where `signal` has fired, an `aborted` error of `task` with the signal's reason as its cause. */
export async function unlessAborted<T>(
  task: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    signal?.throwIfAborted();
    return await work();
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
    throw new AlignTokError("aborted", `${task}: aborted`, { cause: error });
  }
}
