/** A tokenizer that runs: images to latents and back, compiled for each size that arrives. */
import {
  type Images,
  type LatentStats,
  type NdArray,
  type Parameters,
  type PixelSize,
  parameter,
  pixelSize,
  type Random,
  rows,
  zeros,
} from "@aligntok/core";
import { resamplePositions, type ViTConfig, vitShapes } from "@aligntok/encoders";
import type { TensorParameters } from "@aligntok/nn";
import { selectParameters } from "@aligntok/train";
import { concat, reshape, type Tensor } from "@tensorflow/tfjs-core";
import {
  type AdapterConfig,
  type AdapterForm,
  adapterShapes,
  applyAdapter,
  applyVariationalAdapter,
  initAdapter,
} from "./adapter.ts";
import {
  applyDecoder,
  type DecoderConfig,
  decoderParts,
  decoderShapes,
  decoderStride,
  initDecoder,
} from "./decoder.ts";
import { applyEncoder, tokenGrid, withoutPrefix, withPrefix } from "./encoder.ts";
import { checkImages, toPlanes } from "./images.ts";
import { createNetworkTokenizer, type DistributionTokenizer } from "./network-tokenizer.ts";
import type { Interpolation } from "./resize.ts";
import { createRowFunction, type RowFunctionOptions } from "./row-function.ts";
import { adapterOf, type TokenizerConfig } from "./tokenizer-config.ts";

/** A configuration with its weights, under `encoder.`, `adapter.`, `post_quant_conv.` and `decoder.`. */
export interface TokenizerWeights {
  readonly config: TokenizerConfig;
  readonly parameters: Parameters;
  /** Of each latent channel over training images. */
  readonly stats?: LatentStats | undefined;
}

/** Name and shape of every weight. */
export function tokenizerShapes(
  config: TokenizerConfig,
): Readonly<Record<string, readonly number[]>> {
  return {
    ...withPrefix(vitShapes(config.encoder), "encoder."),
    ...adapterShapes(adapterOf(config)),
    ...decoderShapes(config.decoder),
  };
}

export interface InitTokenizerOptions {
  /** Of the images that it will be trained on; each side a multiple of the stride. */
  readonly imageSize: PixelSize;
  /** @default two layers as wide as the encoder */
  readonly adapter?: AdapterForm;
  /** How images are resized for an encoder whose patch is not the decoder's stride. @default "bilinear" */
  readonly interpolation?: Interpolation;
}

/**
 * A tokenizer before its first stage: the pretrained encoder, its position embeddings fitted to the
 * training size and its heads (classifier, CLIP's projection, SigLIP's pooling) dropped; adapter and
 * decoder random.
 */
export function initTokenizer(
  parts: {
    readonly encoder: { readonly config: ViTConfig; readonly parameters: Parameters };
    readonly decoder: DecoderConfig;
    readonly random: Random;
  },
  { imageSize, adapter, interpolation }: InitTokenizerOptions,
): TokenizerWeights {
  const { encoder, decoder, random } = parts;
  const stride = decoderStride(decoder);
  const grid = tokenGrid(imageSize, stride);
  const fitted = resamplePositions(encoder.config, encoder.parameters, grid);
  const body: ViTConfig = {
    ...encoder.config,
    imageSize: gridSize(encoder.config, grid),
    classes: 0,
    embedding: "none",
    embeddingWidth: 0,
  };
  const names = Object.keys(vitShapes(body));
  const config: TokenizerConfig = {
    encoder: body,
    decoder,
    ...(adapter && { adapter }),
    ...(interpolation && { interpolation }),
  };
  return {
    config,
    parameters: {
      ...withPrefix(
        Object.fromEntries(names.map((name) => [name, parameter(fitted, name)])),
        "encoder.",
      ),
      ...initAdapter(adapterOf(config), random),
      ...initDecoder(decoder, random),
    },
  };
}

/**
 * The same tokenizer for training at another size: its position embeddings fitted to it, its statistics left out.
 *
 * @param imageSize each side a multiple of the stride
 */
export function fitTokenizer<Weights extends TokenizerWeights>(
  { stats: _, ...weights }: Weights,
  imageSize: PixelSize,
): Omit<Weights, "stats"> {
  const { encoder, decoder } = weights.config;
  const grid = tokenGrid(imageSize, decoderStride(decoder));
  const own = withoutPrefix(weights.parameters, "encoder.");
  const fitted = withPrefix(resamplePositions(encoder, own, grid), "encoder.");
  return {
    ...weights,
    config: { ...weights.config, encoder: { ...encoder, imageSize: gridSize(encoder, grid) } },
    parameters: { ...weights.parameters, ...fitted },
  };
}

/** Of the images that a grid of patches covers. */
function gridSize({ patchSize }: ViTConfig, [rows, columns]: readonly [number, number]): PixelSize {
  return pixelSize(rows * patchSize, columns * patchSize);
}

/** How a tokenizer runs: `engine`, `threads`, `batchSize`. */
export type TokenizerOptions = RowFunctionOptions;

/** A `Tokenizer` of core that also gives the encoder's features and takes its weights out. */
export interface AlignedTokenizer extends DistributionTokenizer {
  readonly config: TokenizerConfig;
  readonly parameters: Parameters;
  /** `(N, H, W, 3)` uint8 to patch tokens `(N, T, W)` float32 of its encoder: what stage `latent` may be given. */
  features(images: Images): Promise<NdArray<"float32">>;
}

/** Binds weights to graphs, which are compiled at the first batch of each shape. */
export function createTokenizer(
  { config, parameters, stats }: TokenizerWeights,
  options: TokenizerOptions = {},
): AlignedTokenizer {
  const { encoder, decoder, interpolation = "bilinear" } = config;
  const adapter = adapterOf(config);
  const { variational = false } = adapter;
  const stride = decoderStride(decoder);
  const encoderWeights = selectParameters(parameters, ["encoder"]);
  // Position embeddings depend on the size of the images.
  const { "encoder.pos_embed": _, ...fixedWeights } = encoderWeights;
  const grids = new Map<string, Parameters>();

  /** The encoder's position embeddings for a grid; none for rotary ones, which the graph computes. */
  function positionsFor(grid: readonly [number, number]): Parameters {
    const key = grid.join("x");
    const known = grids.get(key) ?? positionsOf(grid);
    grids.set(key, known);
    return known;
  }

  function positionsOf(grid: readonly [number, number]): Parameters {
    const own = withoutPrefix(encoderWeights, "encoder.");
    const { pos_embed } = resamplePositions(encoder, own, grid);
    return pos_embed ? { "encoder.pos_embed": pos_embed } : {};
  }

  const toFeatures = (params: TensorParameters, x: Tensor) =>
    applyEncoder(encoder, params, x, { stride, interpolation });
  const featuring = createRowFunction(toFeatures, fixedWeights, options);
  const tokenizer = createNetworkTokenizer(
    {
      stride,
      latent: decoder.latent,
      variational,
      encode(params, x) {
        const [n, , height, width] = x.shape as [number, number, number, number];
        const tokens = toFeatures(params, x);
        const latents = variational
          ? distribution(adapter, params, tokens) // (N, T, 2d)
          : applyAdapter(adapter, params, tokens); // (N, T, d)
        return reshape(latents, [n, height / stride, width / stride, -1]);
      },
      decode: (params, latents) => applyDecoder(decoder, params, latents),
      encoderWeights: { ...fixedWeights, ...selectParameters(parameters, ["adapter"]) },
      decoderWeights: selectParameters(parameters, decoderParts(decoder)),
      fitted: positionsFor,
      stats,
    },
    options,
  );

  async function features(images: Images): Promise<NdArray<"float32">> {
    const [n, height, width] = checkImages(images);
    const [h, w] = tokenizer.latentShape(height, width);
    const tokens = zeros([n, h * w, encoder.width]);
    const inputs = (start: number, end: number) => toPlanes(rows(images, start, end));
    await featuring.run(inputs, tokens, { fitted: positionsFor([h, w]) });
    return tokens;
  }

  function dispose(): void {
    featuring.dispose();
    tokenizer.dispose();
    grids.clear();
  }

  return { ...tokenizer, config, parameters, features, dispose };
}

/** Tokens `(N, T, W)` to means and logarithms of variances `(N, T, 2d)`. */
function distribution(adapter: AdapterConfig, params: TensorParameters, tokens: Tensor): Tensor {
  const { mean, logVariance } = applyVariationalAdapter(adapter, params, tokens);
  return concat([mean, logVariance], -1);
}
