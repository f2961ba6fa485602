import { div, mul, reshape, sub, type Tensor, tensor, transpose } from "@tensorflow/tfjs-core";

/** Mean and standard deviation of each colour, for pixels in [0, 1]. */
export interface Normalization {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** Pixels in [0, 1] as the network expects them: `(x - mean) / std` on (N, 3, H, W). Differentiable. */
export function normalize({ mean, std }: Normalization, x: Tensor): Tensor {
  return div(sub(x, channels(mean)), channels(std));
}

/** Images (N, H, W, 3) of values 0 to 255 to normalised (N, 3, H, W). */
export function preprocess(config: Normalization, images: Tensor): Tensor {
  return normalize(config, mul(transpose(images, [0, 3, 1, 2]), 1 / 255));
}

function channels(values: readonly number[]): Tensor {
  return reshape(tensor([...values], [3], "float32"), [1, 3, 1, 1]);
}
