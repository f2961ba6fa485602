/** Encoders that run: a configuration and its weights, compiled for each size of images that arrives. */
import {
  check,
  type Encoder,
  type Images,
  type NdArray,
  ndarray,
  type Parameters,
  parameter,
  type Random,
  rows,
  zeros,
} from "@aligntok/core";
import { type EngineOptions, jit, type Precision } from "@aligntok/jit";
import type { Tensor } from "@tensorflow/tfjs-core";
import { resamplePositions } from "./position-embedding.ts";
import { preprocess } from "./preprocess.ts";
import { applyViT, initViT, type ViTConfig } from "./vit.ts";

export interface EncoderOptions extends EngineOptions {
  /**
   * `int8` is faster on processors with VNNI (ViT-S/14, 8 images: 162 ms instead of 300), and features differ by some
   * percent: see `compareFeatures`. ONNX Runtime only. @default "float32"
   */
  readonly precision?: Precision;
  /** Images that go through the network at once; more are cut into batches. @default 8 */
  readonly batchSize?: number;
}

export interface FeaturesOptions {
  /** Rejects with its reason: between batches, or at once with `worker`. */
  readonly signal?: AbortSignal;
}

/** An `Encoder` of core whose configuration and weights can be taken out, to be trained further. */
export interface VisionEncoder extends Encoder {
  readonly config: ViTConfig;
  /** Under the names of `vitShapes`, position embeddings as stored. */
  readonly parameters: Parameters;
  features(images: Images, options?: FeaturesOptions): Promise<NdArray<"float32">>;
}

interface Inputs {
  readonly params: Readonly<Record<string, Tensor>>;
  readonly positions: Tensor;
  /** (N, H, W, 3), 0 to 255 */
  readonly images: Tensor;
}

/** An encoder with random weights (`initViT`), for tests and for training from scratch. */
export function createEncoder(
  config: ViTConfig,
  random: Random,
  options: EncoderOptions = {},
): VisionEncoder {
  return bindEncoder(config, initViT(config, random), options);
}

/** An encoder of the given weights, which must be those that `vitShapes(config)` lists. */
export function bindEncoder(
  config: ViTConfig,
  parameters: Parameters,
  { batchSize = 8, ...engine }: EncoderOptions = {},
): VisionEncoder {
  check(
    Number.isInteger(batchSize) && batchSize >= 1,
    () => `batchSize: expected a positive whole number, got ${batchSize}`,
  );
  const { patchSize, width } = config;
  const prefixTokens = 1 + config.registers;
  const grids = new Map<string, NdArray<"float32">>();

  function positionsFor(grid: readonly [number, number]): NdArray<"float32"> {
    const key = grid.join("x");
    const known =
      grids.get(key) ?? parameter(resamplePositions(config, parameters, grid), "pos_embed");
    grids.set(key, known);
    return known;
  }

  // All but the position embeddings, which depend on the size of the images.
  const { pos_embed: _, ...params } = parameters;
  const graph = jit(
    ({ params, positions, images }: Inputs) =>
      applyViT(config, { ...params, pos_embed: positions }, preprocess(config, images)),
    { ...engine, bind: { params } },
  );

  async function features(
    images: Images,
    { signal }: FeaturesOptions = {},
  ): Promise<NdArray<"float32">> {
    const [n = 0, height = 0, wide = 0, colours] = images.shape;
    check(
      images.dtype === "uint8" && images.shape.length === 4 && colours === 3,
      () => `images: expected uint8 (N, H, W, 3), got ${images.dtype} [${images.shape}]`,
    );
    check(
      height > 0 && wide > 0 && height % patchSize === 0 && wide % patchSize === 0,
      () =>
        `images: expected height and width to be multiples of ${patchSize}, got ${height}x${wide}. resize or crop first`,
    );
    const grid = [height / patchSize, wide / patchSize] as const;
    const positions = positionsFor(grid);
    const tokens = zeros([n, prefixTokens + grid[0] * grid[1], width]);
    // Batches are powers of two below batchSize at the end, so that few graphs serve every count.
    for (let start = 0; start < n; ) {
      const left = n - start;
      const size = left >= batchSize ? batchSize : 2 ** Math.floor(Math.log2(left));
      const batch = rows(images, start, start + size);
      const pixels = ndarray(Float32Array.from(batch.data), batch.shape);
      const into = rows(tokens, start, start + size);
      await graph({ positions, images: pixels }, { into, ...(signal && { signal }) });
      start += size;
    }
    return tokens;
  }

  function dispose(): void {
    graph.dispose();
    grids.clear();
  }

  return { config, parameters, patchSize, width, prefixTokens, features, dispose };
}
