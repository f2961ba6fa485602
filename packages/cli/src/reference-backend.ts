import { AlignTokError } from "@aligntok/core";

/**
 * Loads and activates what `--engine reference` runs on: tfjs's CPU backend, an optional peer.
 *
 * @throws AlignTokError `unavailable` with the install command
 */
export async function loadReferenceBackend(): Promise<void> {
  try {
    await import("@tensorflow/tfjs-backend-cpu"); // registers itself
    const { setBackend } = await import("@tensorflow/tfjs-core");
    await setBackend("cpu");
  } catch (cause) {
    throw new AlignTokError(
      "unavailable",
      "engine reference: expected @tensorflow/tfjs-backend-cpu, got none. run npm install @tensorflow/tfjs-backend-cpu",
      { cause },
    );
  }
}
