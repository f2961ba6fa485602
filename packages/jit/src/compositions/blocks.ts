/** Blocks of pixels moved into channels or batches, and back. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { defineComposition } from "./composition.ts";

defineComposition("DepthToSpace", ["x"], ({ x }, { blockSize, dataFormat }) => {
  const block = blockSize as number;
  if (dataFormat === "NCHW") {
    const [n, c, h, w] = x!.shape as [number, number, number, number];
    const depth = c / block ** 2;
    const split = tf.reshape(x!, [n, block, block, depth, h, w]);
    const mixed = tf.transpose(split, [0, 3, 4, 1, 5, 2]);
    return tf.reshape(mixed, [n, depth, h * block, w * block]);
  }
  const [n, h, w, c] = x!.shape as [number, number, number, number];
  const depth = c / block ** 2;
  const split = tf.reshape(x!, [n, h, w, block, block, depth]);
  const mixed = tf.transpose(split, [0, 1, 3, 2, 4, 5]);
  return tf.reshape(mixed, [n, h * block, w * block, depth]);
});

interface BlockAttributes {
  readonly blockShape: number[];
  readonly paddings: [number, number][];
  readonly crops: [number, number][];
}

/** Margins for the axes after the batch; none for those after. */
const forAxes = (x: Tensor, margins: readonly [number, number][]) =>
  x.shape.map((_, i): [number, number] => margins[i - 1] ?? [0, 0]);

defineComposition("SpaceToBatchND", ["x"], ({ x }, attributes) => {
  const { blockShape, paddings } = attributes as unknown as BlockAttributes;
  const padded = tf.pad(x!, forAxes(x!, paddings));
  const count = blockShape.length;
  const [n, ...sizes] = padded.shape.slice(0, count + 1) as [number, ...number[]];
  const rest = padded.shape.slice(count + 1);
  const split = sizes.flatMap((size, i) => [size / blockShape[i]!, blockShape[i]!]);
  const inBlock = blockShape.map((_, i) => 2 * i + 2);
  const perm = [
    ...inBlock,
    0,
    ...blockShape.map((_, i) => 2 * i + 1),
    ...rest.map((_, i) => 2 * count + 1 + i),
  ];
  const mixed = tf.transpose(tf.reshape(padded, [n, ...split, ...rest]), perm);
  const blocks = tf.util.sizeFromShape(blockShape);
  return tf.reshape(mixed, [n * blocks, ...sizes.map((size, i) => size / blockShape[i]!), ...rest]);
});

defineComposition("BatchToSpaceND", ["x"], ({ x }, attributes) => {
  const { blockShape, crops } = attributes as unknown as BlockAttributes;
  const count = blockShape.length;
  const [batches, ...sizes] = x!.shape.slice(0, count + 1) as [number, ...number[]];
  const rest = x!.shape.slice(count + 1);
  const n = batches / tf.util.sizeFromShape(blockShape);
  const perm = [
    count,
    ...blockShape.flatMap((_, i) => [count + 1 + i, i]),
    ...rest.map((_, i) => 2 * count + 1 + i),
  ];
  const mixed = tf.transpose(tf.reshape(x!, [...blockShape, n, ...sizes, ...rest]), perm);
  const joined = tf.reshape(mixed, [n, ...sizes.map((size, i) => size * blockShape[i]!), ...rest]);
  const margins = forAxes(joined, crops);
  return tf.slice(
    joined,
    margins.map(([before]) => before),
    joined.shape.map((size, i) => size - margins[i]![0] - margins[i]![1]),
  );
});

defineComposition("FlipLeftRight", ["image"], ({ image }) => tf.reverse(image!, 2));
