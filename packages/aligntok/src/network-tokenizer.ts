/** A `Tokenizer` of core from two networks: what AlignTok's and the autoencoders share. */
import {
  check,
  type Images,
  type LatentStats,
  type NdArray,
  type Parameters,
  type Random,
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
  /** Whether `encode` gives a distribution: 2d values a position, means and then logarithms of variances. */
  readonly variational: boolean;
  /** Images `(N, 3, H, W)` in [-1, 1] to `(N, h, w, d)`, or `(N, h, w, 2d)`. */
  encode(params: TensorParameters, images: Tensor): Tensor;
  /** Latents `(N, d, h, w)` to images `(N, 3, H, W)` in [-1, 1]. */
  decode(params: TensorParameters, latents: Tensor): Tensor;
  readonly encoderWeights: Parameters;
  readonly decoderWeights: Parameters;
  /** Further weights of the encoder, for images whose latents have this size. @default none */
  readonly fitted?: (grid: readonly [h: number, w: number]) => Parameters;
  readonly stats: LatentStats | undefined;
}

/** A tokenizer that tells the distribution of its latents, where they have one. `encode` gives their means. */
export interface DistributionTokenizer extends Tokenizer {
  /**
   * `(N, H, W, 3)` uint8 to `(N, h, w, 2d)`: means, then logarithms of variances. `drawLatents` draws from them.
   *
   * @default none, of a tokenizer whose latents are no distribution
   */
  moments?(images: Images): Promise<NdArray<"float32">>;
}

/** Compiles both networks when the first batch of a size comes. */
export function createNetworkTokenizer(
  networks: Networks,
  options: RowFunctionOptions,
): DistributionTokenizer {
  const { stride, latent, variational, fitted, stats } = networks;
  const encoded = variational ? 2 * latent : latent;
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

  async function encodeAll(images: Images): Promise<NdArray<"float32">> {
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
      () =>
        `latents: expected (N, h, w, ${latent}), got [${latents.shape}]. decode them with the tokenizer that they come from`,
    );
    const planes = zeros([n, 3, h * stride, w * stride]);
    await decoding.run((start, end) => rows(latents, start, end), planes);
    return toPixels(planes);
  }

  function dispose(): void {
    encoding.dispose();
    decoding.dispose();
  }

  return {
    stats,
    latentShape,
    decode,
    dispose,
    ...(variational
      ? { moments: encodeAll, encode: async (images) => drawLatents(await encodeAll(images)) }
      : { encode: encodeAll }),
  };
}

/** Moments `(N, h, w, 2d)` to latents `(N, h, w, d)`: drawn by `random`, or the means without it. */
export function drawLatents(
  { data, shape }: NdArray<"float32">,
  random?: Random,
): NdArray<"float32"> {
  const latent = shape.at(-1)! / 2;
  const latents = zeros([...shape.slice(0, -1), latent]);
  for (let to = 0, from = 0; to < latents.data.length; from += 2 * latent) {
    for (let c = 0; c < latent; c++, to++) {
      const mean = data[from + c]!;
      latents.data[to] = random
        ? mean + Math.exp(data[from + latent + c]! / 2) * random.normal()
        : mean;
    }
  }
  return latents;
}
