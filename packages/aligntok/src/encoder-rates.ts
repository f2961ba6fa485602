import { check } from "@aligntok/core";
import { type AdamGroup, hasPrefix } from "@aligntok/train";

export interface EncoderRates {
  /** Factor on the learning rate of the encoder. @default 1 */
  readonly encoderLrScale?: number;
  /**
   * Factor from each of the encoder's blocks to the one before, with the embeddings before the first and the final norm
   * after the last (Clark et al. 2020 and Bao et al. 2022, BEiT). @default 1
   */
  readonly layerDecay?: number;
}

/** The groups of an optimizer, for those of `names` that lie under `encoder`. */
export function encoderGroups(
  names: readonly string[],
  depth: number,
  { encoderLrScale = 1, layerDecay = 1 }: EncoderRates,
): readonly AdamGroup[] {
  check(
    layerDecay > 0 && layerDecay <= 1,
    () =>
      `layerDecay: expected a number above 0 and up to 1, got ${layerDecay}. 1 trains all blocks alike`,
  );
  const groups = [
    { prefix: "encoder.norm", lrScale: encoderLrScale },
    ...Array.from({ length: depth }, (_, block) => ({
      prefix: `encoder.blocks.${block}`,
      lrScale: encoderLrScale * layerDecay ** (depth - block),
    })),
    { prefix: "encoder", lrScale: encoderLrScale * layerDecay ** (depth + 1) },
  ];
  return groups.filter(({ prefix }) => names.some((name) => hasPrefix(name, prefix)));
}
