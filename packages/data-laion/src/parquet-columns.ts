/** Which columns of a Parquet table are the images, their keys, classes and captions. */
import { check, listSome } from "@aligntok/core";
import type { FileMetaData, SchemaElement } from "hyparquet";

export interface ImageColumns {
  readonly image: string;
  /** Whether an image is a struct with a field `bytes`, as Hugging Face writes it, and not the bytes themselves. */
  readonly isStruct: boolean;
  /** Whether that struct has a field `path`. */
  readonly hasPath: boolean;
  readonly key?: string;
  readonly label?: string;
  readonly caption?: string;
  /** Names of the classes, from Hugging Face's description in the file. */
  readonly classes?: readonly string[];
}

const imageNames = ["image", "img", "jpg", "jpeg", "png", "webp", "bytes"];
const keyNames = ["key", "__key__", "id", "image_id", "file_name"];
const labelNames = ["label", "labels", "cls", "class"];
const captionNames = ["caption", "text", "txt"];

interface Column {
  readonly element: SchemaElement;
  readonly children: readonly SchemaElement[];
}

/** @throws AlignTokError `bad-input` when there is no column of images, or several that could be it */
export function findColumns(
  metadata: FileMetaData,
  path: string,
  wanted: string | undefined,
): ImageColumns {
  const columns = topColumns(metadata.schema);
  const images = columns.filter(isImage).map(({ element }) => element.name);
  const image =
    wanted ??
    imageNames.find((name) => images.includes(name)) ??
    (images.length === 1 ? images[0] : "");
  check(
    image && images.includes(image),
    () =>
      `${path}: expected ${wanted ? `a column ${wanted} of images` : "one column of images (bytes, or a struct with bytes)"}, got ${images.length ? listSome(images) : `columns ${listSome(columns.map(({ element }) => element.name))}`}. name it with the option image`,
  );
  const { children } = columns.find(({ element }) => element.name === image)!;
  const first = (names: readonly string[], fits: (column: Column) => boolean) =>
    names.find((name) => columns.some((column) => column.element.name === name && fits(column)));
  const key = first(keyNames, (column) => isText(column) || isWhole(column));
  const label = first(labelNames, (column) => isText(column) || isWhole(column));
  const caption = first(captionNames, isText);
  const classes = label && describedClasses(metadata, label);
  return {
    image,
    isStruct: children.length > 0,
    hasPath: children.some(({ name }) => name === "path"),
    ...(key && { key }),
    ...(label && { label }),
    ...(caption && { caption }),
    ...(classes && { classes }),
  };
}

/** The same table with the structs of `image` shorn of their bytes, so that what else they hold can be read alone. */
export function withoutBytes(metadata: FileMetaData, image: string): FileMetaData {
  const at = metadata.schema.findIndex(
    ({ name, num_children }) => name === image && (num_children ?? 0) > 0,
  );
  const struct = metadata.schema[at]!;
  const bytes = metadata.schema.findIndex(({ name }, i) => i > at && name === "bytes");
  const schema = metadata.schema.filter((_, i) => i !== bytes);
  schema[at] = { ...struct, num_children: struct.num_children! - 1 };
  const row_groups = metadata.row_groups.map((group) => ({
    ...group,
    columns: group.columns.filter(
      ({ meta_data }) => meta_data?.path_in_schema.join("/") !== `${image}/bytes`,
    ),
  }));
  return { ...metadata, schema, row_groups };
}

/** The columns below the root, of a schema listed depth first. */
function topColumns([, ...elements]: readonly SchemaElement[]): Column[] {
  const columns: Column[] = [];
  for (let at = 0; at < elements.length; ) {
    const element = elements[at]!;
    const end = endOf(elements, at);
    const children = elements.slice(at + 1, end);
    columns.push({ element, children });
    at = end;
  }
  return columns;
}

function endOf(elements: readonly SchemaElement[], at: number): number {
  let open = 1;
  let next = at;
  for (; open > 0 && next < elements.length; next++)
    open += (elements[next]!.num_children ?? 0) - 1;
  return next;
}

function isImage({ element, children }: Column): boolean {
  if (element.repetition_type === "REPEATED") return false;
  if (children.length === 0) return isBinary(element);
  return children.some((child) => child.name === "bytes" && isBinary(child));
}

function isBinary({ type, converted_type, logical_type }: SchemaElement): boolean {
  return type === "BYTE_ARRAY" && !converted_type && !logical_type;
}

function isText({ element: { type, converted_type, logical_type } }: Column): boolean {
  return type === "BYTE_ARRAY" && (converted_type === "UTF8" || logical_type?.type === "STRING");
}

function isWhole({ element: { type } }: Column): boolean {
  return type === "INT32" || type === "INT64";
}

/** Hugging Face's `ClassLabel` names, from the JSON it leaves in the file. */
function describedClasses(metadata: FileMetaData, label: string): string[] | undefined {
  const text = metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  try {
    const names = JSON.parse(text ?? "{}")?.info?.features?.[label]?.names;
    const valid = Array.isArray(names) && names.every((name) => typeof name === "string");
    return valid ? names : undefined;
  } catch {
    return undefined; // a description for people; the numbers are the labels
  }
}
