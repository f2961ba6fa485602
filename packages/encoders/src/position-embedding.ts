/** Learned position embeddings fitted to another grid, on the host, exactly as each upstream does it. */
import { check, listSome, ndarray, type Parameters, parameter, zeros } from "@aligntok/core";
import { patchGrid, type ViTConfig } from "./vit.ts";

/**
 * All are bicubic with half-pixel centres (`align_corners=False`), and differ in the rest:
 * - `timm`: scaled by the sizes, antialiased. Also what DINOv2 does for its models with registers.
 * - `dinov2`: the original DINOv2 without registers: scaled by (n + 0.1) / n0 rather than n / n0, not antialiased.
 * - `huggingface`: every other model of transformers: scaled by the sizes, not antialiased.
 */
export type PositionResampling = (typeof positionResamplings)[number];

export const positionResamplings = ["timm", "dinov2", "huggingface"] as const;

/** @throws AlignTokError `bad-input` for another */
export function checkPositionResampling(name: PositionResampling): void {
  check(
    positionResamplings.includes(name),
    () => `positionResampling: expected ${listSome(positionResamplings)}, got ${String(name)}`,
  );
}

/**
 * Parameters whose `pos_embed` (1, C + T0, D), of the grid of `imageSize`, is resampled to (1, C + rows * columns, D) for a grid
 * `[rows, columns]`; the row of the class token, where there is one, is kept, and every other parameter is shared.
 * The parameters as they are for rotary positions, of which nothing is stored.
 */
export function resamplePositions(
  config: Pick<
    ViTConfig,
    "positionResampling" | "classToken" | "positions" | "imageSize" | "patchSize"
  >,
  parameters: Parameters,
  grid: readonly [number, number],
): Parameters {
  if (config.positions === "rotary") return parameters;
  const positions = parameter(parameters, "pos_embed");
  const own = Number(config.classToken);
  const [, count = 0, d = 0] = positions.shape;
  const [rows, columns] = grid;
  const [storedRows, storedColumns] = patchGrid(config);
  check(
    count === own + storedRows * storedColumns,
    () =>
      `pos_embed: expected ${own} rows for the class token and ${storedRows}x${storedColumns} for the image size ${config.imageSize}, got ${count} rows`,
  );
  if (rows === storedRows && columns === storedColumns) return parameters;
  const flavour = config.positionResampling;
  checkPositionResampling(flavour);
  const vertical = taps(flavour, storedRows, rows);
  const horizontal = taps(flavour, storedColumns, columns);

  const resampled = zeros([1, own + rows * columns, d]);
  resampled.data.set(positions.data.subarray(0, own * d));
  const wide = new Float32Array(storedRows * columns * d); // rows as stored, columns of the new grid
  for (let row = 0; row < storedRows; row++) {
    accumulate(wide, row * columns * d, horizontal, d, (source) => {
      const start = (own + row * storedColumns + source) * d;
      return positions.data.subarray(start, start + d);
    });
  }
  accumulate(resampled.data, own * d, vertical, columns * d, (source) =>
    wide.subarray(source * columns * d, (source + 1) * columns * d),
  );
  return { ...parameters, pos_embed: ndarray(resampled.data, resampled.shape) };
}

/** For each output position, the input positions that it is a weighted sum of. */
type Taps = readonly (readonly (readonly [source: number, weight: number])[])[];

/** Writes one line of `width` numbers per output position into `target`, from `offset` on. */
function accumulate(
  target: Float32Array,
  offset: number,
  lines: Taps,
  width: number,
  line: (source: number) => Float32Array,
): void {
  lines.forEach((terms, i) => {
    const start = offset + i * width;
    for (const [source, weight] of terms) {
      const values = line(source);
      for (let c = 0; c < width; c++) target[start + c]! += weight * values[c]!;
    }
  });
}

function taps(flavour: PositionResampling, input: number, output: number): Taps {
  if (flavour === "timm") return antialiasedTaps(input, output);
  return plainTaps(input, output, input / (flavour === "dinov2" ? output + 0.1 : output));
}

/** torch's bicubic interpolation: four taps of Keys' kernel with a = -0.75, indices clamped at the border. */
function plainTaps(input: number, output: number, step: number): Taps {
  return Array.from({ length: output }, (_, i) => {
    const center = (i + 0.5) * step - 0.5;
    const first = Math.floor(center) - 1;
    return [0, 1, 2, 3].map((k) => {
      const source = Math.min(Math.max(first + k, 0), input - 1);
      return [source, cubic(center - first - k, -0.75)] as const;
    });
  });
}

/** torch's antialiased bicubic (Pillow's): a = -0.5, the kernel widened when shrinking, weights renormalised at the border. */
function antialiasedTaps(input: number, output: number): Taps {
  const step = input / output;
  const widening = Math.max(step, 1);
  return Array.from({ length: output }, (_, i) => {
    const center = (i + 0.5) * step;
    const first = Math.max(Math.floor(center - 2 * widening + 0.5), 0);
    const end = Math.min(Math.floor(center + 2 * widening + 0.5), input);
    const weights = Array.from({ length: end - first }, (_, k) =>
      cubic((first + k - center + 0.5) / widening, -0.5),
    );
    const total = weights.reduce((sum, w) => sum + w, 0);
    return weights.map((w, k) => [first + k, w / total] as const);
  });
}

/** Keys' cubic convolution kernel (1981). */
function cubic(x: number, a: number): number {
  const t = Math.abs(x);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}
