/**
 * LPIPS v0.1: the distance of two images in the features of a classification network, weighted by
 * non-negative factors that were fitted to human judgements of similarity.
 *
 * Paper: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
 * Upstream: richzhang/PerceptualSimilarity at 082bb24. Differences: dropout in the heads, which upstream
 * disables outside their own training, does not exist here.
 *
 * N images, C channels of a feature map, h and w its size.
 */
import type { Parameters } from "@aligntok/core";
import { AlignTokError, listSome } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { applyNetwork, type NetworkName, networks } from "./network.ts";

export interface LpipsConfig {
  readonly network: NetworkName;
}

/** Mean and standard deviation of ImageNet's colours on the scale of [-1, 1]. */
const shift = [-0.03, -0.088, -0.188];
const scale = [0.458, 0.448, 0.45];

/**
 * Distances `(N)` of images `x` and `y`, both `(N, 3, H, W)` in [-1, 1]; differentiable in both.
 *
 * @param params `features.N.*` of the network and `lin{k}.model.1.weight` of the heads
 */
export function applyLpips(
  config: LpipsConfig,
  params: Readonly<Record<string, tf.Tensor>>,
  x: tf.Tensor,
  y: tf.Tensor,
): tf.Tensor {
  const ofX = applyNetwork(config.network, params, normalize(x));
  const ofY = applyNetwork(config.network, params, normalize(y));
  const distances = ofX.map((features, k) => {
    const difference = tf.square(tf.sub(unitLength(features), unitLength(ofY[k]!))); // (N, C, h, w)
    const [, , h = 1, w = 1] = difference.shape;
    // A 1x1 convolution without bias and the mean over the map, in one product: (N, C) x (C, 1).
    const perChannel = tf.div(tf.sum(difference, [2, 3]), tf.scalar(h * w)); // (N, C)
    const head = params[`lin${k}.model.1.weight`]!;
    return tf.matMul(perChannel as tf.Tensor2D, tf.reshape(head, [-1, 1]) as tf.Tensor2D); // (N, 1)
  });
  return tf.reshape(
    distances.reduce((sum, distance) => tf.add(sum, distance)),
    [-1],
  );
}

function normalize(images: tf.Tensor): tf.Tensor {
  const perChannel = (values: readonly number[]) => tf.tensor(values as number[], [1, 3, 1, 1]);
  return tf.div(tf.sub(images, perChannel(shift)), perChannel(scale));
}

/**
 * Divides each position's feature vector by its length plus 1e-10. After a ReLU a position may be zero in
 * every channel, where the root has an infinite slope and upstream's gradient is NaN; 1e-20 under the
 * root, far below the precision of any other length, makes it zero.
 */
function unitLength(features: tf.Tensor): tf.Tensor {
  const squares = tf.sum(tf.square(features), 1, true); // (N, 1, h, w)
  const length = tf.sqrt(tf.add(squares, tf.scalar(1e-20)));
  return tf.div(features, tf.add(length, tf.scalar(1e-10)));
}

/**
 * Checks that every weight is there and that the layers fit one another.
 *
 * @throws AlignTokError `bad-input` naming the missing keys or the shape that does not fit
 */
export function checkLpipsParameters(config: LpipsConfig, params: Parameters): void {
  const expected = lpipsKeys(config);
  const missing = expected.filter((key) => !params[key]);
  if (missing.length > 0) {
    throw new AlignTokError(
      "bad-input",
      `lpips ${config.network}: expected ${expected.length} weights, got a file without ${listSome(missing)}. take the network from torchvision's ${config.network} and the heads from LPIPS v0.1`,
    );
  }
  tapKeys(config).forEach((key, k) => {
    const widths = key.map((name) => params[name]!.shape[0]!);
    const width = widths.reduce((sum, n) => sum + n, 0);
    const head = params[`lin${k}.model.1.weight`]!;
    if (head.shape.join() !== `1,${width},1,1`) {
      throw new AlignTokError(
        "bad-input",
        `lpips ${config.network} head lin${k}: expected shape [1,${width},1,1], got [${head.shape}]. use the heads of the same network`,
      );
    }
  });
}

/** Names of the weights of a configuration, heads included. */
export function lpipsKeys({ network }: LpipsConfig): string[] {
  const convolutions = networks[network].flatMap((layer) => {
    if (layer.kind === "pool") return [];
    const name = `features.${layer.index}`;
    return layer.kind === "conv"
      ? [name]
      : ["squeeze", "expand1x1", "expand3x3"].map((part) => `${name}.${part}`);
  });
  const heads = networks[network].filter(({ tap }) => tap).map((_, k) => `lin${k}.model.1.weight`);
  return [...convolutions.flatMap((name) => [`${name}.weight`, `${name}.bias`]), ...heads];
}

/** For each tap the weights whose outputs make up its channels. */
function tapKeys({ network }: LpipsConfig): string[][] {
  return networks[network].flatMap((layer) => {
    if (!layer.tap || layer.kind === "pool") return [];
    const name = `features.${layer.index}`;
    return layer.kind === "conv"
      ? [[`${name}.weight`]]
      : [[`${name}.expand1x1.weight`, `${name}.expand3x3.weight`]];
  });
}
