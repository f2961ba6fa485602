/** A `Tokenizer` of core from two networks: what AlignTok's and the autoencoders share. */
import {
  check,
  type Images,
  type LatentStats,
  type NdArray,
  type Parameters,
  rows,
  type Tokenizer,
  zeros,
} from "@aligntok/core";
import type { TensorParameters } from "@aligntok/nn";
import { type Tensor, transpose } from "@tensorflow/tfjs-core";
import { checkImages, toPixels, toPlanes } from "./images.ts";
import { createRowFunction, type RowFunctionOptions } from "./row-function.ts";

export interface Networks {
  /** Pixels of the image per latent position, along each side. */
  readonly stride: number;
  /** Channels d of the latent. */
  readonly latent: number;
  /** Values that `encode` gives for each position. */
  readonly encoded: number;
  /** Images `(N, 3, H, W)` in [-1, 1] to `(N, h, w, encoded)`. */
  encode(params: TensorParameters, images: Tensor): Tensor;
  /** Latents `(N, d, h, w)` to images `(N, 3, H, W)` in [-1, 1]. */
  decode(params: TensorParameters, latents: Tensor): Tensor;
  readonly encoderWeights: Parameters;
  readonly decoderWeights: Parameters;
  /** Further weights of the encoder, for images whose latents have this size. @default none */
  readonly fitted?: (grid: readonly [h: number, w: number]) => Parameters;
  readonly stats: LatentStats | undefined;
}

/** Compiles both networks when the first batch of a size comes; `encode` gives `(N, h, w, encoded)`. */
export function createNetworkTokenizer(networks: Networks, options: RowFunctionOptions): Tokenizer {
  const { stride, latent, encoded, fitted, stats } = networks;
  const encoding = createRowFunction(networks.encode, networks.encoderWeights, options);
  const decoding = createRowFunction(
    (params, x) => networks.decode(params, transpose(x, [0, 3, 1, 2])),
    networks.decoderWeights,
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

  async function encode(images: Images): Promise<NdArray<"float32">> {
    const [n, height, width] = checkImages(images);
    const [h, w] = latentShape(height, width);
    const outputs = zeros([n, h, w, encoded]);
    await encoding.run((start, end) => toPlanes(rows(images, start, end)), outputs, {
      ...(fitted && { fitted: fitted([h, w]) }),
    });
    return outputs;
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
    encoding.dispose();
    decoding.dispose();
  }

  return { stats, latentShape, encode, decode, dispose };
}
