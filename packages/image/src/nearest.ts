/** Pillow's nearest neighbour: `ImagingScaleAffine` in `Geometry.c`, and `affine_transform` there for 16 bits. */

import { type Line, scaleOf } from "./filters.ts";
import type { PixelData } from "./image.ts";

export function pickNearest(
  input: PixelData,
  output: PixelData,
  {
    channels,
    across,
    down,
  }: { readonly channels: number; readonly across: Line; readonly down: Line },
): void {
  const columns = nearestIndices(across, input);
  const rows = nearestIndices(down, input);
  let out = 0;
  for (const row of rows) {
    for (const column of columns) {
      const pixel = (row * across.inputSize + column) * channels;
      for (let c = 0; c < channels; c++) output[out++] = input[pixel + c]!;
    }
  }
}

/** Pillow steps by repeated addition, whose rounding decides ties; only for 16 bits it multiplies. */
function nearestIndices(line: Line, input: PixelData): Int32Array {
  const { inputSize, start, from, to } = line;
  const indices = new Int32Array(to - from);
  const step = scaleOf(line);
  const last = inputSize - 1;
  if (input instanceof Uint16Array) {
    for (let i = from; i < to; i++) {
      indices[i - from] = Math.min(Math.trunc(step * (i + 0.5) + start), last);
    }
    return indices;
  }
  let position = start + step * 0.5;
  for (let i = 0; i < to; i++, position += step) {
    if (i >= from) indices[i - from] = Math.min(Math.trunc(position), last);
  }
  return indices;
}
