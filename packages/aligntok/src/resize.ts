/**
 * Resizing inside a graph, as two matrix products: each engine has those, with gradients.
 * Same numbers as torch's `interpolate(mode=interpolation, align_corners=False, antialias=False)`.
 */
import { linear } from "@aligntok/jit";
import { type Tensor, tensor, transpose } from "@tensorflow/tfjs-core";

export type Interpolation = "bilinear" | "bicubic";

/** `(N, C, H, W)` to `(N, C, height, width)`. */
export function resize(
  x: Tensor,
  {
    height,
    width,
    interpolation = "bilinear",
  }: {
    readonly height: number;
    readonly width: number;
    /** @default "bilinear" */
    readonly interpolation?: Interpolation;
  },
): Tensor {
  const turned = transpose(resizeLastAxis(x, width, interpolation), [0, 1, 3, 2]); // (N, C, width, H)
  return transpose(resizeLastAxis(turned, height, interpolation), [0, 1, 3, 2]);
}

function resizeLastAxis(x: Tensor, to: number, interpolation: Interpolation): Tensor {
  const from = x.shape.at(-1)!;
  if (from === to) return x;
  return linear(x, tensor(weights(from, to, interpolation), [to, from], "float32"));
}

/** The `(to, from)` matrix whose rows hold the weights of each output; inputs beyond the border are those at it. */
function weights(from: number, to: number, interpolation: Interpolation): Float32Array {
  const matrix = new Float32Array(to * from);
  const [reach, kernel] = interpolation === "bilinear" ? [1, triangle] : [2, cubic];
  for (let i = 0; i < to; i++) {
    const center = ((i + 0.5) * from) / to - 0.5;
    for (let k = 1 - reach; k <= reach; k++) {
      const source = Math.floor(center) + k;
      const column = Math.min(Math.max(source, 0), from - 1);
      matrix[i * from + column]! += kernel(Math.abs(center - source));
    }
  }
  return matrix;
}

/** At a distance of 0 to 1. */
function triangle(distance: number): number {
  return 1 - distance;
}

/** Keys' kernel (1981) with torch's a = -0.75, at a distance of 0 to 2. */
function cubic(distance: number): number {
  return distance <= 1
    ? (1.25 * distance - 2.25) * distance ** 2 + 1
    : -0.75 * (((distance - 5) * distance + 8) * distance - 4);
}
