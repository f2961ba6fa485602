/**
 * Constants of an OpenVINO model: NAME.xml lists the layers, NAME.bin holds the data.
 *
 * A layer `<layer id name type="Const"><data element_type shape offset size/>` names bytes of the .bin. Only that
 * much XML is read: tags and attributes, no entities but the five of XML, no DTD.
 * Format: https://docs.openvino.ai/2025/documentation/openvino-ir-format.html
 */

import { readFile, realpath, stat } from "node:fs/promises";
import { AlignTokError, byteLength, type DType, type NdArray } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { mappedArray } from "./lazy-array.ts";

/** The .xml of large models has some megabytes. */
const longestXml = 2 ** 28;

const dtypeOf: Readonly<Record<string, DType>> = {
  f64: "float64",
  f32: "float32",
  f16: "float16",
  bf16: "bfloat16",
  f8e4m3: "float8_e4m3fn",
  f8e5m2: "float8_e5m2",
  f8e8m0: "float8_e8m0fnu",
  i64: "int64",
  i32: "int32",
  i16: "int16",
  i8: "int8",
  u64: "uint64",
  u32: "uint32",
  u16: "uint16",
  u8: "uint8",
  boolean: "bool",
};

type Attributes = Readonly<Record<string, string>>;

/**
 * The constants of the model whose .xml is given, by the names of their layers; a name that occurred before is
 * followed by the id of its layer (`name#12`).
 *
 * @throws AlignTokError `not-found` when .xml or .bin is absent; `bad-format` when they are damaged or do not belong
 * together; `unsupported` for elements of less than a byte, such as u4.
 */
export async function mapOpenvino(
  xmlPath: string,
): Promise<{ tensors: Record<string, NdArray>; metadata: Record<string, string> }> {
  let binPath = xmlPath.replace(/(\.xml)?$/, ".bin");
  let xml: string;
  try {
    const { size } = await stat(xmlPath);
    if (size > longestXml)
      throw malformed(xmlPath, `expected at most ${longestXml} bytes, got ${size}`);
    xml = await readFile(xmlPath, "utf8");
    binPath = await realpath(binPath);
  } catch (error) {
    throw fileError("read", (error as { path?: string }).path ?? xmlPath, error);
  }
  const { size, mtimeMs } = await stat(binPath);
  const tensors = new Map<string, NdArray>();
  const metadata: Record<string, string> = {};
  let layer: Attributes = {};
  let seen = false;
  for (const { tag, attributes } of readTags(xml, xmlPath)) {
    if (tag === "net") {
      seen = true;
      if (attributes.name !== undefined) metadata.name = attributes.name;
    } else if (tag === "layer") layer = attributes;
    else if (tag === "data" && layer.type === "Const") {
      const { name = "", id = "" } = layer;
      const { dtype, shape, offset } = readConstant(name, attributes, size, xmlPath);
      const array = mappedArray(dtype, shape, { path: binPath, offset, modified: mtimeMs });
      tensors.set(tensors.has(name) ? `${name}#${id}` : name, array);
    }
  }
  if (!seen) throw malformed(xmlPath, "expected a <net>, got none");
  return { tensors: Object.fromEntries(tensors), metadata };
}

function readConstant(
  name: string,
  { element_type: type = "none", shape: text, offset: from, size: length }: Attributes,
  binSize: number,
  path: string,
) {
  const dtype = Object.hasOwn(dtypeOf, type) ? dtypeOf[type] : undefined;
  if (!dtype) {
    throw new AlignTokError(
      "unsupported",
      `openvino ${path}: layer ${name}: expected element_type ${Object.keys(dtypeOf).join(", ")}, got ${type.slice(0, 20)}. convert the model without compressing its weights`,
    );
  }
  const shape = text ? text.split(",").map(count) : [];
  const [offset, size] = [count(from), count(length)];
  const expected = byteLength({ dtype, shape });
  if (expected !== size) {
    throw malformed(
      path,
      `layer ${name}: expected ${expected} bytes for ${type} [${text}], got ${length}`,
    );
  }
  if (!(offset + size <= binSize)) {
    throw malformed(
      path,
      `layer ${name}: expected data within the ${binSize} bytes of the .bin, got ${size} at ${from}`,
    );
  }
  return { dtype, shape, offset };
}

/** A whole number; anything else is NaN, which no size equals. */
function count(text: string | undefined): number {
  return text !== undefined && /^\s*\d{1,15}\s*$/.test(text) ? Number(text) : Number.NaN;
}

/** Opening tags in their order. */
function* readTags(xml: string, path: string): Generator<{ tag: string; attributes: Attributes }> {
  const name = /([A-Za-z_][\w.:-]*)/y;
  const attribute = /\s+([A-Za-z_][\w.:-]*)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/y;
  const close = /\s*\/?>/y;
  for (let at = xml.indexOf("<"); at >= 0; at = xml.indexOf("<", at)) {
    const skipTo = xml.startsWith("<!--", at) ? "-->" : /[?/]/.test(xml[at + 1] ?? "") ? ">" : "";
    if (skipTo) {
      const end = xml.indexOf(skipTo, at);
      if (end < 0) throw malformed(path, `expected ${skipTo} after character ${at}, got the end`);
      at = end + skipTo.length;
      continue;
    }
    name.lastIndex = at + 1;
    const tag = name.exec(xml)?.[1];
    if (!tag)
      throw malformed(
        path,
        `expected a tag at character ${at}, got ${JSON.stringify(xml.slice(at, at + 10))}`,
      );
    attribute.lastIndex = name.lastIndex;
    let end = attribute.lastIndex;
    const attributes: [string, string][] = [];
    for (let found = attribute.exec(xml); found; found = attribute.exec(xml)) {
      attributes.push([found[1]!, unescapeXml(found[2] ?? found[3] ?? "")]);
      end = attribute.lastIndex;
    }
    close.lastIndex = end;
    if (!close.test(xml))
      throw malformed(
        path,
        `tag ${tag}: expected > at character ${end}, got ${JSON.stringify(xml.slice(end, end + 10))}`,
      );
    yield { tag, attributes: Object.fromEntries(attributes) };
    at = close.lastIndex;
  }
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function unescapeXml(text: string): string {
  return text.replace(/&(lt|gt|amp|quot|apos);/g, (_, entity: string) => entities[entity]!);
}

function malformed(path: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `openvino ${path}: ${problem}. the file is damaged or of another format`,
  );
}
