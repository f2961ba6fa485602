import { check, zeros } from "@aligntok/core";
import { linear } from "@aligntok/jit";
import { type Tensor, tensor, transpose } from "@tensorflow/tfjs-core";

/**
 * Bilinear resize of `(N, C, H, W)` to `[height, width]` with half-pixel centres and no antialiasing: PyTorch's
 * `interpolate(mode="bilinear", align_corners=False)`. Two matrix products, so it is differentiable on every engine.
 */
export function resizeBilinear(x: Tensor, size: readonly [number, number]): Tensor {
  const [, , height, width] = x.shape as [number, number, number, number];
  const [newHeight, newWidth] = size;
  check(
    size.every((n) => Number.isInteger(n) && n > 0),
    () => `resizeBilinear: expected a positive size, got ${newHeight}x${newWidth}`,
  );
  const wide = linear(x, interpolation(width, newWidth)); // (N, C, H, W')
  const turned = linear(transpose(wide, [0, 1, 3, 2]), interpolation(height, newHeight)); // (N, C, W', H')
  return transpose(turned, [0, 1, 3, 2]);
}

/** The matrix (output x input) that interpolates a line. */
function interpolation(input: number, output: number): Tensor {
  const matrix = zeros([output, input]);
  for (let i = 0; i < output; i++) {
    const position = Math.max(((i + 0.5) * input) / output - 0.5, 0);
    const low = Math.min(Math.floor(position), input - 1);
    const high = Math.min(low + 1, input - 1);
    matrix.data[i * input + low]! += 1 - (position - low);
    matrix.data[i * input + high]! += position - low;
  }
  return tensor(matrix.data, [output, input], "float32");
}
