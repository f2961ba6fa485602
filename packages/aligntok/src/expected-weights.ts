import { AlignTokError, listSome, type NdArray } from "@aligntok/core";

/**
 * Checks that the tensors are those of a configuration, of its shapes.
 *
 * @param what names the tensors in the message: `tokenizer weights`
 * @throws AlignTokError `bad-input` listing missing, unknown and wrongly shaped names, at most five of each
 */
export function checkWeights(
  what: string,
  found: Readonly<Record<string, NdArray>>,
  shapes: Readonly<Record<string, readonly number[]>>,
): void {
  const names = Object.keys(shapes);
  const misshapen = names.filter(
    (name) => found[name] && found[name].shape.join() !== shapes[name]!.join(),
  );
  const told = (
    [
      ["missing", names.filter((name) => !found[name])],
      ["unknown", Object.keys(found).filter((name) => !shapes[name])],
      [
        "of another shape",
        misshapen.map((name) => `${name} [${found[name]!.shape}] instead of [${shapes[name]}]`),
      ],
    ] as const
  )
    .filter(([, list]) => list.length > 0)
    .map(([problem, list]) => `${list.length} ${problem}: ${listSome(list)}`);
  if (told.length === 0) return;
  throw new AlignTokError(
    "bad-input",
    `${what}: expected the ${names.length} of their configuration, got ${told.join("; ")}. weights and configuration do not belong together`,
  );
}
