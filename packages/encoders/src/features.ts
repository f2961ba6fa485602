/** Images to features: one compiled graph for each choice of layers and pooling, all with the same bound weights. */
import {
  batchRanges,
  check,
  type Images,
  type NdArray,
  ndarray,
  type Parameters,
  pixelSize,
  rows,
  sizeOf,
  zeros,
} from "@aligntok/core";
import { type CompileOptions, type Jitted, jit } from "@aligntok/jit";
import { slice, type Tensor } from "@tensorflow/tfjs-core";
import { type Pooling, pooledShape, poolTokens } from "./pooling.ts";
import { resamplePositions } from "./position-embedding.ts";
import { preprocess } from "./preprocess.ts";
import { unlessAborted } from "./unless-aborted.ts";
import { applyViT, patchGrid, type ViTConfig } from "./vit.ts";

export interface FeaturesOptions {
  /**
   * After which block: 0 is the first, -1 the last. A list gives a result for each.
   * @default -1
   */
  readonly layer?: number | readonly number[];
  /**
   * `none`: all tokens (N, prefix + T, D); `patches`: (N, T, D); `registers`: (N, R, D); `cls`: the class token (N, D);
   * `mean`: the mean patch token (N, D); `embedding`: the model's own of the image (N, E), CLIP's projection or SigLIP's
   * attention pooling, of the last layer after the final LayerNorm. Done in the graph, so that no more leaves it than is asked for.
   * @default "none"
   */
  readonly pool?: Pooling;
  /** Whether the final LayerNorm is applied, whatever the layer. @default true */
  readonly norm?: boolean;
  /** Ends the work with an `aborted` error, its reason as cause: between batches, or at once with `worker`. */
  readonly signal?: AbortSignal;
}

interface Inputs {
  readonly params: Readonly<Record<string, Tensor>>;
  /** Of the grid; none for rotary ones, which the graph computes. */
  readonly positions: Readonly<Record<string, Tensor>>;
  /** (N, H, W, 3), 0 to 255 */
  readonly images: Tensor;
}

type FeatureGraph = Jitted<Omit<Inputs, "params">, Tensor[]>;

/** Choices of layers and pooling whose graphs are held; each holds some for sizes of images and batches. */
const mostChoices = 8;

export interface FeatureComputer {
  compute(images: Images, options: FeaturesOptions): Promise<readonly NdArray<"float32">[]>;
  dispose(): void;
}

export function createFeatureComputer(
  config: ViTConfig,
  parameters: Parameters,
  { batchSize, ...engine }: CompileOptions & { readonly batchSize: number },
): FeatureComputer {
  const grids = new Map<string, Parameters>();
  const graphs = new Map<string, FeatureGraph>(); // least recently used first

  /** Pixels of the last batch: fresh memory costs many times what filling it does. */
  let spare: Float32Array | undefined;

  // All but the position embeddings, which depend on the size of the images.
  const { pos_embed: _, ...params } = parameters;

  function positionsFor(grid: readonly [number, number]): Parameters {
    const key = grid.join("x");
    const { pos_embed } = grids.get(key) ?? resamplePositions(config, parameters, grid);
    const known: Parameters = pos_embed ? { pos_embed } : {};
    grids.set(key, known);
    return known;
  }

  function graphFor(layers: readonly number[], pool: Pooling, norm: boolean): FeatureGraph {
    const key = [layers, pool, norm].join(" ");
    const graph =
      graphs.get(key) ??
      jit(
        ({ params, positions, images }: Inputs) => {
          const weights = { ...params, ...positions };
          const x = preprocess(config, wholePatches(config, images));
          return applyViT(config, weights, x, { layers, norm }).map((tokens) =>
            poolTokens(config, weights, tokens, pool),
          );
        },
        { ...engine, bind: { params } },
      );
    graphs.delete(key);
    graphs.set(key, graph);
    for (const [oldest, old] of graphs) {
      if (graphs.size <= mostChoices) break;
      graphs.delete(oldest);
      old.dispose();
    }
    return graph;
  }

  async function compute(
    images: Images,
    { layer = -1, pool = "none", norm = true, signal }: FeaturesOptions,
  ): Promise<NdArray<"float32">[]> {
    checkImages(images);
    const [n = 0, height = 0, wide = 0] = images.shape;
    checkSize(config, height, wide);
    const layers = resolveLayers([layer].flat(), config.depth);
    const grid = patchGrid({ ...config, imageSize: [height, wide] });
    const shape = pooledShape(config, pool, grid[0] * grid[1]);
    check(
      pool !== "embedding" || (norm && layers.join() === String(config.depth - 1)),
      () =>
        `pool embedding: expected the last layer with the final norm, got layer ${layers.join(", ")}${norm ? "" : " without norm"}`,
    );
    const positions = positionsFor(grid);
    const graph = graphFor(layers, pool, norm);
    const outputs = layers.map(() => zeros([n, ...shape]));
    for (const [start, end] of batchRanges(n, batchSize)) {
      const batch = rows(images, start, end);
      const pixels =
        spare?.length === batch.data.length ? spare : new Float32Array(batch.data.length);
      spare = undefined; // another call may come before this one is done
      pixels.set(batch.data);
      const into = outputs.map((output) => rows(output, start, end));
      const inputs = { positions, images: ndarray(pixels, batch.shape) };
      await graph(inputs, { into, ...(signal && { signal }) });
      spare = pixels;
    }
    return outputs;
  }

  function dispose(): void {
    for (const graph of graphs.values()) graph.dispose();
    graphs.clear();
    grids.clear();
  }

  return {
    compute: (images, options) =>
      unlessAborted("features", options.signal, () => compute(images, options)),
    dispose,
  };
}

function checkImages(images: Images): void {
  const { dtype, shape, data } = images ?? {};
  check(
    dtype === "uint8" && Array.isArray(shape) && shape.length === 4 && shape[3] === 3,
    () =>
      `images: expected uint8 (N, H, W, 3), got ${shape ? `${dtype} [${shape}]` : typeof images}`,
  );
  // before any memory is taken for the results
  check(
    shape.every(Number.isSafeInteger) && data?.length === sizeOf(shape),
    () =>
      `images: expected ${sizeOf(shape)} bytes for shape [${shape}], got ${data?.length ?? "none"}`,
  );
}

/**
 * @throws AlignTokError `bad-input` unless height and width are multiples of the patch size, or those of the images that
 * the model was made for
 */
export function checkSize(config: ViTConfig, height: number, width: number): void {
  const { patchSize } = config;
  const isWhole = height > 0 && width > 0 && height % patchSize === 0 && width % patchSize === 0;
  check(
    isWhole || isOwnSize(config, height, width),
    () =>
      `images: expected height and width to be multiples of ${patchSize}, got ${height}x${width}. resize or crop first`,
  );
}

/** Whether the model is trained on images of this size, or its own preparation makes them. */
function isOwnSize({ imageSize, transform, patchSize }: ViTConfig, height: number, width: number) {
  const { resize, crop = typeof resize === "object" ? resize : undefined } = transform;
  const prepared = typeof crop === "object" ? pixelSize(crop.height, crop.width) : crop;
  return (
    Math.min(height, width) >= patchSize &&
    [imageSize, prepared].some((size) => String(size) === String(pixelSize(height, width)))
  );
}

/** Images (N, H, W, 3) without the last pixels, of which no patch is full: upstream's convolution drops them as well. */
function wholePatches({ patchSize }: ViTConfig, images: Tensor): Tensor {
  const [n, height, width] = images.shape as [number, number, number, number];
  const [bottom, right] = [height - (height % patchSize), width - (width % patchSize)];
  if (bottom === height && right === width) return images;
  return slice(images, [0, 0, 0, 0], [n, bottom, right, 3]);
}

/** Blocks counted from 0, from numbers that may count from the end. */
function resolveLayers(layers: readonly number[], depth: number): number[] {
  const resolved = layers.map((layer) => (layer < 0 ? depth + layer : layer));
  const valid = resolved.every((i) => Number.isInteger(i) && i >= 0 && i < depth);
  check(
    valid && layers.length > 0,
    () =>
      `layer: expected whole numbers from ${-depth} to ${depth - 1}, got ${layers.join(", ") || "none"}`,
  );
  check(
    new Set(resolved).size === resolved.length,
    () => `layer: expected each block once, got ${layers.join(", ")}`,
  );
  return resolved;
}
