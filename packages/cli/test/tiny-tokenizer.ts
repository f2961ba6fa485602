/** The sizes of a tokenizer that costs next to nothing. */
import { vitModels } from "@aligntok/encoders";

/** Side of its images in pixels. */
export const size = 32;

export const vit = {
  ...vitModels.vit_tiny_patch16_224,
  ...{ imageSize: size, width: 16, depth: 1, heads: 2, hiddenWidth: 32, classes: 0 },
};

export const decoder = {
  latent: 4,
  channels: 8,
  multipliers: [1, 1, 1],
  blocks: 0,
  groups: 4,
  pixelShuffle: 4,
};
