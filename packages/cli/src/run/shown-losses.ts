/** The losses of a step that its progress shows; the log has them all. */
export function chooseShown(
  losses: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const { absolute, perceptual, semantic, discriminator } = losses;
  const named = { L1: absolute, perceptual, semantic, discriminator };
  return Object.fromEntries(
    Object.entries(named).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}
