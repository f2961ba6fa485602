/** A tokenizer that runs: images to latents and back, compiled for each size that arrives. */
import {
  check,
  type Images,
  type LatentStats,
  type NdArray,
  type Parameters,
  parameter,
  type Random,
  rows,
  type Tokenizer,
  zeros,
} from "@aligntok/core";
import { resamplePositions, type ViTConfig, vitShapes } from "@aligntok/encoders";
import type { TensorParameters } from "@aligntok/nn";
import { selectParameters } from "@aligntok/train";
import { type Tensor, transpose } from "@tensorflow/tfjs-core";
import { type AdapterForm, adapterShapes, applyAdapter, initAdapter } from "./adapter.ts";
import {
  applyDecoder,
  type DecoderConfig,
  decoderShapes,
  decoderStride,
  initDecoder,
} from "./decoder.ts";
import { applyEncoder, withoutPrefix, withPrefix } from "./encoder.ts";
import { checkImages, toPixels, toPlanes } from "./images.ts";
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
  /** Side in pixels of the images that it will be trained on; a multiple of the stride. */
  readonly imageSize: number;
  /** @default two layers as wide as the encoder */
  readonly adapter?: AdapterForm;
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
  { imageSize, adapter }: InitTokenizerOptions,
): TokenizerWeights {
  const { encoder, decoder, random } = parts;
  const stride = decoderStride(decoder);
  check(
    imageSize > 0 && imageSize % stride === 0,
    () => `imageSize: expected a multiple of the stride ${stride}, got ${imageSize}`,
  );
  const { patchSize } = encoder.config;
  const side = imageSize / stride;
  const fitted = resamplePositions(encoder.config, encoder.parameters, [side, side]);
  const body: ViTConfig = {
    ...encoder.config,
    imageSize: side * patchSize,
    classes: 0,
    embedding: "none",
    embeddingWidth: 0,
  };
  const names = Object.keys(vitShapes(body));
  const config: TokenizerConfig = { encoder: body, decoder, ...(adapter && { adapter }) };
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

/** How a tokenizer runs: `engine`, `threads`, `batchSize`. */
export type TokenizerOptions = RowFunctionOptions;

/** A `Tokenizer` of core that also gives the encoder's features and takes its weights out. */
export interface AlignedTokenizer extends Tokenizer {
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
  const { encoder, decoder } = config;
  const { latent } = decoder;
  const stride = decoderStride(decoder);
  const encoderWeights = selectParameters(parameters, ["encoder"]);
  const adapterWeights = selectParameters(parameters, ["adapter"]);
  const decoderWeights = selectParameters(parameters, ["post_quant_conv", "decoder"]);
  const grids = new Map<string, Parameters>();
  // Position embeddings depend on the size of the images.
  const { "encoder.pos_embed": _, ...fixedWeights } = encoderWeights;

  const toFeatures = (params: TensorParameters, x: Tensor) =>
    applyEncoder(encoder, params, x, { stride });
  const featuring = createRowFunction(toFeatures, fixedWeights, options);
  const encoding = createRowFunction(
    (params, x) => applyAdapter(adapterOf(config), params, toFeatures(params, x)),
    { ...fixedWeights, ...adapterWeights },
    options,
  );
  const decoding = createRowFunction(
    (params, x) => applyDecoder(decoder, params, transpose(x, [0, 3, 1, 2])),
    decoderWeights,
    options,
  );

  function latentShape(height: number, width: number): readonly [number, number, number] {
    check(
      height > 0 && width > 0 && height % stride === 0 && width % stride === 0,
      () =>
        `image size: expected multiples of ${stride}, got ${height}x${width}. resize or crop first`,
    );
    return [height / stride, width / stride, latent];
  }

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

  async function features(images: Images): Promise<NdArray<"float32">> {
    const [n, height, width] = checkImages(images);
    const [h, w] = latentShape(height, width);
    const tokens = zeros([n, h * w, encoder.width]);
    const inputs = (start: number, end: number) => toPlanes(rows(images, start, end));
    await featuring.run(inputs, tokens, { fitted: positionsFor([h, w]) });
    return tokens;
  }

  async function encode(images: Images): Promise<NdArray<"float32">> {
    const [n, height, width] = checkImages(images);
    const [h, w, d] = latentShape(height, width);
    const tokens = zeros([n, h * w, d]);
    const inputs = (start: number, end: number) => toPlanes(rows(images, start, end));
    await encoding.run(inputs, tokens, { fitted: positionsFor([h, w]) });
    return { ...tokens, shape: [n, h, w, d] };
  }

  async function decode(latents: NdArray<"float32">): Promise<Images> {
    const [n = 0, h = 0, w = 0, d] = latents.shape;
    check(
      latents.shape.length === 4 && d === latent && h > 0 && w > 0,
      () => `latents: expected (N, h, w, ${latent}), got [${latents.shape}]`,
    );
    const planes = zeros([n, 3, h * stride, w * stride]);
    await decoding.run((start, end) => rows(latents, start, end), planes);
    return toPixels(planes);
  }

  function dispose(): void {
    for (const network of [featuring, encoding, decoding]) network.dispose();
    grids.clear();
  }

  return { config, parameters, stats, latentShape, features, encode, decode, dispose };
}
