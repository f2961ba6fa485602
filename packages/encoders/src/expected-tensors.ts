import { AlignTokError, listSome, type Parameters } from "@aligntok/core";

/**
 * Checks that the tensors are those that a model needs, of the shapes that it needs.
 *
 * @throws AlignTokError `bad-input` listing missing, left-over or wrongly shaped names, at most five of each.
 */
export function checkTensors(
  found: Parameters,
  shapes: Readonly<Record<string, readonly number[]>>,
): void {
  const problems: string[] = [];
  const missing = Object.keys(shapes).filter((name) => !(name in found));
  if (missing.length) problems.push(`${missing.length} missing (${listSome(missing)})`);
  const leftOver = Object.keys(found).filter((name) => !(name in shapes));
  if (leftOver.length) problems.push(`${leftOver.length} unknown (${listSome(leftOver)})`);
  const wrong = Object.entries(shapes)
    .filter(([name, shape]) => found[name] && found[name].shape.join() !== shape.join())
    .map(([name, shape]) => `${name} [${found[name]!.shape}] instead of [${shape}]`);
  if (wrong.length) problems.push(`${wrong.length} of another shape (${listSome(wrong)})`);
  if (!problems.length) return;
  throw new AlignTokError(
    "bad-input",
    `checkpoint: expected the ${Object.keys(shapes).length} tensors of the configured model, got ${problems.join("; ")}. check that config and weights belong together`,
  );
}
