/** What every command with `--tokenizer` says about it. */
import type { OpenedTokenizer } from "@aligntok/aligntok";
import { listSome } from "@aligntok/core";
import type { Session } from "./session.ts";

export const tokenizerHelp =
  "a tokenizer's folder, or a file or folder of a VA-VAE, SD-VAE, FLUX or TAESD autoencoder";

/** Tensors of the file that are no part of the tokenizer. */
export function sayIgnored({ model, ignored }: OpenedTokenizer, { log }: Session): void {
  if (ignored.length === 0) return;
  log.info(`${model}: left out ${ignored.length} tensors of the file (${listSome(ignored, 3)})`);
}
