/**
 * The PatchGAN discriminator: judges overlapping patches of an image as real or reconstructed.
 *
 * Paper: Isola et al. 2017 (pix2pix). Upstream: `NLayerDiscriminator` of CompVis/taming-transformers at
 * 3ba01b2. Keys: `main.{0,2,3,5,6,...}`. `num_batches_tracked`, a counter that nothing reads, is not kept;
 * PyTorch fills it in when it loads such a file.
 *
 * N images, C channels of a layer.
 */
import { check, type Parameters, type Random } from "@aligntok/core";
import { constant, conv2d, normal, type TensorParameters, weightOf } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";

export interface DiscriminatorConfig {
  /** Channels of the first layer. @default 64 */
  readonly channels?: number;
  /** Layers of stride 2; the patch grows with them. @default 3 */
  readonly layers?: number;
}

/** One convolution, 4x4 with a padding of 1; all but the first and last are followed by batch normalisation. */
interface Layer {
  readonly convolution: string;
  readonly norm?: string;
  readonly stride: number;
  readonly input: number;
  readonly output: number;
}

function layersOf({ channels = 64, layers = 3 }: DiscriminatorConfig): Layer[] {
  const width = (layer: number) => channels * Math.min(2 ** layer, 8);
  const inner = Array.from({ length: layers }, (_, i) => ({
    convolution: `main.${2 + 3 * i}`,
    norm: `main.${3 + 3 * i}`,
    stride: i + 1 < layers ? 2 : 1,
    input: width(i),
    output: width(i + 1),
  }));
  return [
    { convolution: "main.0", stride: 2, input: 3, output: channels },
    ...inner,
    { convolution: `main.${2 + 3 * layers}`, stride: 1, input: width(layers), output: 1 },
  ];
}

/** Convolutions N(0, 0.02), scales N(1, 0.02); the biases of the first and last convolution as PyTorch starts them. */
export function initDiscriminator(config: DiscriminatorConfig, random: Random): Parameters {
  const params: Record<string, Parameters[string]> = {};
  for (const { convolution, norm, input, output } of layersOf(config)) {
    params[`${convolution}.weight`] = normal(random, [output, input, 4, 4], 0.02);
    if (norm) {
      const scale = normal(random, [output], 0.02);
      params[`${norm}.weight`] = { ...scale, data: scale.data.map((x) => x + 1) };
      params[`${norm}.bias`] = constant([output], 0);
      params[`${norm}.running_mean`] = constant([output], 0);
      params[`${norm}.running_var`] = constant([output], 1);
    } else {
      const bound = 1 / Math.sqrt(input * 16);
      const bias = constant([output], 0);
      params[`${convolution}.bias`] = {
        ...bias,
        data: bias.data.map(() => (2 * random.uniform() - 1) * bound),
      };
    }
  }
  return params;
}

/** Whether a key holds statistics, which no gradient trains. */
export function isRunningStatistic(name: string): boolean {
  return name.endsWith(".running_mean") || name.endsWith(".running_var");
}

export interface Judgement {
  /** `(N, 1, h, w)`: above zero for real. h = w = 30 for 256 pixels and 3 layers. */
  readonly logits: tf.Tensor;
  /** The running statistics after this batch, under their keys. Empty where `training` is false. */
  readonly statistics: Record<string, tf.Tensor>;
}

/**
 * Judges images `(N, 3, H, W)` in [-1, 1].
 *
 * With `training` it normalises by the statistics of this batch, without by the running ones.
 *
 * @param images each side at least 24 pixels, for 3 layers
 * @throws AlignTokError `bad-input` for smaller ones
 */
export function applyDiscriminator(
  config: DiscriminatorConfig,
  params: TensorParameters,
  images: tf.Tensor,
  { training }: { readonly training: boolean },
): Judgement {
  const statistics: Record<string, tf.Tensor> = {};
  const layers = layersOf(config);
  const [height, width] = images.shape.slice(2) as [number, number];
  const smallest = 3 * 2 ** (config.layers ?? 3);
  check(
    Math.min(height, width) >= smallest,
    () =>
      `discriminator: expected images of at least ${smallest}x${smallest} pixels for ${config.layers ?? 3} layers, got ${height}x${width}. give it fewer layers, larger images, or set discriminator to false`,
  );
  let x = images;
  layers.forEach(({ convolution, norm, stride }, i) => {
    x = conv2d(params, convolution, x, { stride, padding: 1 });
    if (norm) x = batchNorm(params, norm, x, training ? statistics : undefined);
    if (i + 1 < layers.length) x = tf.leakyRelu(x, 0.2);
  });
  return { logits: x, statistics };
}

const epsilon = 1e-5;
const momentum = 0.1;

/** Batch normalisation of `(N, C, H, W)`; in training it writes the new running statistics to `update`. */
function batchNorm(
  params: TensorParameters,
  name: string,
  x: tf.Tensor,
  update: Record<string, tf.Tensor> | undefined,
): tf.Tensor {
  const perChannel = (value: tf.Tensor) => tf.reshape(value, [1, -1, 1, 1]);
  const oldMean = weightOf(params, `${name}.running_mean`);
  const oldVariance = weightOf(params, `${name}.running_var`);
  let mean = perChannel(oldMean);
  let variance = perChannel(oldVariance);
  if (update) {
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const count = n * h * w;
    mean = tf.mean(x, [0, 2, 3], true);
    variance = tf.mean(tf.square(tf.sub(x, mean)), [0, 2, 3], true); // divided by the count
    const blend = (old: tf.Tensor, now: tf.Tensor) =>
      tf.add(
        tf.mul(old, tf.scalar(1 - momentum)),
        tf.mul(tf.reshape(now, [c]), tf.scalar(momentum)),
      );
    update[`${name}.running_mean`] = blend(oldMean, mean);
    const unbiased = tf.mul(variance, tf.scalar(count / (count - 1)));
    update[`${name}.running_var`] = blend(oldVariance, unbiased); // the running one is unbiased, as in PyTorch
  }
  const scale = tf.div(
    perChannel(weightOf(params, `${name}.weight`)),
    tf.sqrt(tf.add(variance, tf.scalar(epsilon))),
  );
  return tf.add(tf.mul(tf.sub(x, mean), scale), perChannel(weightOf(params, `${name}.bias`)));
}
