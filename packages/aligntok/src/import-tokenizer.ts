/** Tokenizers trained elsewhere, as folders of this package. */
import { locateWeights } from "@aligntok/checkpoint";
import type { LatentStats } from "@aligntok/core";
import { isAligned, type OpenTokenizerOptions } from "./open-tokenizer.ts";
import { loadTokenizer, saveTokenizer } from "./tokenizer-file.ts";
import { findAutoencoder, saveAutoencoder, saveTinyAutoencoder } from "./vae/autoencoder-file.ts";
import { adaptAutoencoder } from "./vae/autoencoder-names.ts";
import { adaptTinyAutoencoder } from "./vae/taesd-names.ts";

export interface ImportTokenizerOptions extends Pick<OpenTokenizerOptions, "model"> {
  /** Of its latents, in place of those that it has. @default its own */
  readonly stats?: LatentStats;
}

/**
 * Writes what `openTokenizer` opens into a folder, made where absent: `config.json` and `model.safetensors` in float32,
 * without the tensors that are no part of it.
 *
 * @throws AlignTokError as `openTokenizer` does, and `io` when the folder cannot be written
 */
export async function importTokenizer(
  pathOrName: string,
  folder: string,
  { model, stats }: ImportTokenizerOptions = {},
): Promise<void> {
  const { path } = await locateWeights(pathOrName);
  if (await isAligned(path)) {
    const tokenizer = await loadTokenizer(path);
    await saveTokenizer(folder, { ...tokenizer, stats: stats ?? tokenizer.stats });
    return;
  }
  const found = await findAutoencoder(path, model);
  if (found.kind === "tiny") {
    const { config, tensors } = found;
    await saveTinyAutoencoder(folder, {
      config,
      parameters: adaptTinyAutoencoder(config, tensors),
    });
    return;
  }
  const { config, tensors } = found;
  const parameters = adaptAutoencoder(config, tensors);
  await saveAutoencoder(folder, { config, parameters, stats: stats ?? found.stats });
}
