/**
 * Bilinear resizing inside a graph, as two matrix products: each engine has those, with gradients.
 * Same numbers as torch's `interpolate(mode="bilinear", align_corners=False, antialias=False)`.
 */
import { linear } from "@aligntok/jit";
import { type Tensor, tensor, transpose } from "@tensorflow/tfjs-core";

/** `(N, C, H, W)` to `(N, C, height, width)`. */
export function resizeBilinear(
  x: Tensor,
  { height, width }: { readonly height: number; readonly width: number },
): Tensor {
  const turned = transpose(resizeLastAxis(x, width), [0, 1, 3, 2]); // (N, C, width, H)
  return transpose(resizeLastAxis(turned, height), [0, 1, 3, 2]);
}

function resizeLastAxis(x: Tensor, to: number): Tensor {
  const from = x.shape.at(-1)!;
  return from === to ? x : linear(x, tensor(interpolation(from, to), [to, from], "float32"));
}

/** The `(to, from)` matrix whose rows hold the two weights of each output. */
function interpolation(from: number, to: number): Float32Array {
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const source = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(source), from - 1);
    const high = Math.min(low + 1, from - 1);
    matrix[i * from + low]! += 1 - (source - low);
    matrix[i * from + high]! += source - low;
  }
  return matrix;
}
