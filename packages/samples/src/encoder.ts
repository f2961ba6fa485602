/** Where the embedded encoder lies. */
import { fileURLToPath } from "node:url";

/**
 * Path of the folder with the embedded encoder, `config.json` and `model.safetensors`: a small ViT of our own, for
 * everything that should run without a download. Its model card is beside them.
 *
 * ```ts
 * import { sampleEncoderPath } from "@aligntok/samples";
 *
 * console.log(sampleEncoderPath());
 * ```
 */
export function sampleEncoderPath(): string {
  // `src/` and `dist/` are both one level below the package
  return fileURLToPath(new URL("../vit-tiny-distilled", import.meta.url));
}
