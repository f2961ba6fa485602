import { type NdArray, ndarray, type Parameters, toFloat32 } from "@aligntok/core";
import { openCheckpoint } from "./checkpoint.ts";
import { readData } from "./lazy-array.ts";

/**
 * The weights of a model from a file or folder of any format that `openCheckpoint` knows: every tensor as float32,
 * under the file's own names. Names that share a tensor there share it here.
 *
 * @throws AlignTokError as `openCheckpoint` does.
 */
export async function loadParameters(path: string): Promise<Parameters> {
  const { tensors } = await openCheckpoint(path);
  const converted = new Map<NdArray, NdArray<"float32">>();
  for (const array of Object.values(tensors)) {
    if (converted.has(array)) continue;
    const { dtype, shape } = array;
    converted.set(array, toFloat32(ndarray(readData(array), shape, dtype)));
  }
  return Object.fromEntries(
    Object.entries(tensors).map(([name, array]) => [name, converted.get(array)!]),
  );
}
