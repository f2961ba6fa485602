/** What is kept of an image's tokens: all of them, a part, or one vector. */
import { check } from "@aligntok/core";
import { mean, slice, squeeze, type Tensor } from "@tensorflow/tfjs-core";
import type { ViTConfig } from "./vit.ts";

const poolings = ["none", "patches", "registers", "cls", "mean"] as const;

/** none: all tokens; patches, registers: those alone; cls: the class token; mean: that of the patches. */
export type Pooling = (typeof poolings)[number];

/**
 * The shape of one image's features.
 *
 * @param patches number of its patch tokens
 * @throws AlignTokError `bad-input` for a pooling that does not exist, or that this model has nothing for
 */
export function pooledShape(config: ViTConfig, pool: Pooling, patches: number): readonly number[] {
  const { registers, width } = config;
  check(poolings.includes(pool), () => `pool: expected ${poolings.join(", ")}, got ${pool}`);
  check(
    pool !== "registers" || registers > 0,
    "pool registers: expected a model with register tokens, got one without. take cls or patches",
  );
  const shapes = {
    none: [1 + registers + patches, width],
    patches: [patches, width],
    registers: [registers, width],
    cls: [width],
    mean: [width],
  } as const;
  return shapes[pool];
}

/** Tokens (N, 1 + R + T, D) to what `pooledShape` says of each image, in the graph. */
export function poolTokens(config: ViTConfig, tokens: Tensor, pool: Pooling): Tensor {
  const [n, t, d] = tokens.shape as [number, number, number];
  const prefix = 1 + config.registers;
  const part = (first: number, count: number) => slice(tokens, [0, first, 0], [n, count, d]);
  switch (pool) {
    case "none":
      return tokens;
    case "patches":
      return part(prefix, t - prefix); // (N, T, D)
    case "registers":
      return part(1, config.registers); // (N, R, D)
    case "cls":
      return squeeze(part(0, 1), [1]); // (N, D)
    case "mean":
      return mean(part(prefix, t - prefix), 1); // (N, D)
  }
}
