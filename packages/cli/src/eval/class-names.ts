/** Classes of images to judge by, as those of other images count them. */
import { check, listSome } from "@aligntok/core";
import type { ClassNames } from "../row-metadata.ts";
import type { PooledRows } from "./pooled-rows.ts";

export interface ClassedRows extends PooledRows {
  readonly labels: Int32Array;
}

/**
 * @param option which takes classes from elsewhere
 * @throws AlignTokError `bad-input` where an image has no class
 */
export function requireClasses(
  rows: PooledRows,
  option: "--labels" | "--test-labels",
): ClassedRows {
  const { path, labels, keys } = rows;
  const next = `give ${option}, or encode a folder whose sub-folders are classes`;
  check(labels, () => `${path}: expected the class of each image, got images without one. ${next}`);
  const odd = labels.findIndex((label) => label < 0);
  check(
    odd < 0,
    () => `${path}: expected a class of image ${keys?.[odd] ?? odd}, got ${labels[odd]}. ${next}`,
  );
  return { ...rows, labels };
}

/**
 * Class of each row of `test` by the indices of `train`: that of an equal name where both have names, otherwise the
 * same index.
 *
 * @throws AlignTokError `bad-input` for names that no row of `train` has
 */
export function matchLabels(test: ClassedRows, train: ClassedRows): Int32Array {
  if (!test.classes || !train.classes) return test.labels;
  const [names, known] = [test.classes, train.classes];
  const used = new Set(train.labels);
  const indices = new Map([...used].map((label) => [nameOf(known, label), label]));
  const indexOf = (label: number) => {
    const name = nameOf(names, label);
    // of two classes of one name, the one of the same index
    return used.has(label) && nameOf(known, label) === name ? label : indices.get(name);
  };
  const unknown = [...new Set(test.labels)].filter((label) => indexOf(label) === undefined);
  check(
    unknown.length === 0,
    () =>
      `${test.path}: expected classes of the images in ${train.path} (${listSome([...indices.keys()])}), got ${listSome(unknown.map((label) => nameOf(names, label)))}. leave their images out, or fit to images of them too`,
  );
  return test.labels.map((label) => indexOf(label)!);
}

function nameOf(classes: ClassNames, label: number): string {
  return classes[label] ?? `class ${label}`;
}
