import { type NdArray, type Parameters, toFloat32 } from "@aligntok/core";
import { readConverted } from "./safetensors.ts";

/**
 * The weights of a model from a safetensors file: every tensor as float32, under the file's own names.
 *
 * @throws AlignTokError as `readSafetensors` does.
 */
export async function loadParameters(path: string): Promise<Parameters> {
  const { tensors } = await readConverted<NdArray<"float32">>(path, toFloat32);
  return tensors;
}
