import { AlignTokError, type NdArray } from "@aligntok/core";
import { type Tensor, tensor } from "@tensorflow/tfjs-core";

/** Weights by name inside a graph: what `Parameters` of core become when a compiled function receives them. */
export type TensorParameters = Readonly<Record<string, Tensor>>;

/**
 * The weight of that name.
 *
 * @throws AlignTokError `not-found` naming the key.
 */
export function weightOf(params: TensorParameters, name: string): Tensor {
  const found = params[name];
  if (!found) {
    throw new AlignTokError(
      "not-found",
      `parameter ${name}: expected among the ${Object.keys(params).length} given, got none. check the configuration against the weights`,
    );
  }
  return found;
}

/** A host array as a constant of the graph: position tables, means, masks. */
export function constantTensor(array: NdArray<"float32">): Tensor {
  return tensor(array.data, [...array.shape], "float32");
}
