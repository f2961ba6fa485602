import { AlignTokError } from "@aligntok/core";

/** What a promise was rejected with; throws if it was not, or with another error than ours. */
export async function errorOf(promise: Promise<unknown>): Promise<AlignTokError> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  if (!AlignTokError.isInstance(error))
    throw new Error("expected an AlignTokError", { cause: error });
  return error;
}
