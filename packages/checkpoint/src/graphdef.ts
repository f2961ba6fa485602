/**
 * Constants of a frozen TensorFlow graph (`.pb`): nodes with the operation Const and an attribute `value`.
 * Messages: tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto
 */

import { readFile, realpath, stat } from "node:fs/promises";
import {
  AlignTokError,
  byteLength,
  bytesPerElement,
  type DType,
  type NdArray,
  sizeOf,
  viewBytes,
  zeros,
} from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { lazyArray, mappedArray } from "./lazy-array.ts";
import { type Field, type Message, readFields, readText, readVarints } from "./protobuf-reader.ts";

/** No protobuf message may be longer. */
const longestGraph = 2 ** 31;
/** Bytes of a constant that repeats its last value, whose size the file need not back. */
const largestRepeat = 2 ** 26;

/** DataType of types.proto. */
const dtypeOf: Readonly<Record<number, DType>> = {
  1: "float32",
  2: "float64",
  3: "int32",
  4: "uint8",
  5: "int16",
  6: "int8",
  9: "int64",
  10: "bool",
  14: "bfloat16",
  17: "uint16",
  19: "float16",
  22: "uint32",
  23: "uint64",
  24: "float8_e5m2",
  25: "float8_e4m3fn",
};
const stringType = 7;

/** Fields of TensorProto with numbers in them: all but strings and complex numbers. */
const valueFields: ReadonlySet<number> = new Set([5, 6, 7, 10, 11, 13, 16, 17]);

/**
 * The constants of a graph by the names of their nodes. Texts are in `metadata` where they are single ones.
 *
 * @throws AlignTokError `not-found`, `io`; `bad-format` for a damaged file; `unsupported` for complex and quantised
 * constants.
 */
export async function mapGraphdef(
  path: string,
): Promise<{ tensors: Record<string, NdArray>; metadata: Record<string, string> }> {
  let bytes: Uint8Array;
  let file: FileOfGraph;
  try {
    const resolved = await realpath(path);
    const { size, mtimeMs } = await stat(resolved);
    if (size >= longestGraph) throw malformed(path, `expected less than 2 GiB, got ${size} bytes`);
    bytes = await readFile(resolved);
    file = { path: resolved, modified: mtimeMs };
  } catch (error) {
    throw fileError("read", path, error);
  }
  const tensors: [string, NdArray][] = [];
  const metadata: [string, string][] = [];
  for (const node of readFields({ bytes, start: 0, end: bytes.length })) {
    if (node.number !== 1 || node.wire !== 2) continue;
    const { name, tensor } = readNode(node);
    if (!tensor) continue;
    const value = readTensor(name, tensor, file);
    if (typeof value === "string") metadata.push([name, value]);
    else if (value) tensors.push([name, value]);
  }
  return { tensors: Object.fromEntries(tensors), metadata: Object.fromEntries(metadata) };
}

interface FileOfGraph {
  readonly path: string;
  readonly modified: number;
}

/** The name of a node, and its value if it is a constant. */
function readNode(node: Message): { name: string; tensor?: Message } {
  let [name, operation] = ["", ""];
  let tensor: Message | undefined;
  for (const field of readFields(node)) {
    if (field.wire !== 2) continue;
    if (field.number === 1) name = readText(field);
    else if (field.number === 2) operation = readText(field);
    else if (field.number === 5) tensor = valueAttribute(field) ?? tensor;
  }
  return { name, ...(operation === "Const" && tensor && { tensor }) };
}

/** The tensor (field 8 of AttrValue) of a map entry `value`. */
function valueAttribute(entry: Message): Message | undefined {
  let [key, tensor] = ["", undefined as Message | undefined];
  for (const field of readFields(entry)) {
    if (field.wire !== 2) continue;
    if (field.number === 1) key = readText(field);
    else if (field.number === 2) {
      for (const inner of readFields(field)) {
        if (inner.number === 8 && inner.wire === 2) tensor = inner;
      }
    }
  }
  return key === "value" ? tensor : undefined;
}

function readTensor(
  name: string,
  tensor: Message,
  file: FileOfGraph,
): NdArray | string | undefined {
  let type = 0;
  let shape: number[] = [];
  let content: Field | undefined;
  const values: Field[] = [];
  const texts: string[] = [];
  for (const field of readFields(tensor)) {
    if (field.number === 1) type = Number(field.value);
    else if (field.number === 2) shape = readShape(field);
    else if (field.number === 4 && field.end > field.start) content = field;
    else if (field.number === 8) texts.push(readText(field));
    else if (valueFields.has(field.number)) values.push(field);
  }
  if (type === stringType) return texts.length === 1 ? texts[0] : undefined;
  const dtype = dtypeOf[type];
  if (!dtype) {
    throw new AlignTokError(
      "unsupported",
      `graphdef ${file.path}: constant ${name}: expected a real dtype, got type ${type} of types.proto. remove the constant or cast it`,
    );
  }
  const size = byteLength({ dtype, shape });
  const where = `constant ${name}: expected ${size} bytes for ${dtype} [${shape.slice(0, 8)}]`;
  if (content) {
    const length = content.end - content.start;
    if (length !== size) throw malformed(file.path, `${where}, got ${length}`);
    return mappedArray(dtype, shape, { ...file, offset: content.start });
  }
  if (!(size <= largestRepeat)) throw malformed(file.path, `${where} to have content, got none`);
  const data = expandValues(values, dtype);
  if (data.length > sizeOf(shape))
    throw malformed(file.path, `${where}, got ${data.length} elements`);
  return lazyArray(dtype, shape, { read: () => repeatLast(data, shape, dtype) });
}

function readShape(message: Message): number[] {
  const shape: number[] = [];
  for (const dimension of readFields(message)) {
    if (dimension.number !== 2 || dimension.wire !== 2) continue;
    let size = 0;
    for (const field of readFields(dimension)) if (field.number === 1) size = Number(field.value);
    shape.push(size);
  }
  return shape;
}

/** The numbers of the fields `float_val`, `int_val` and so on, packed or not, as elements of the dtype. */
function expandValues(fields: readonly Field[], dtype: DType): NdArray["data"] {
  const fixed = fields.map((field) => {
    const width = field.number === 5 ? 4 : field.number === 6 ? 8 : 0;
    if (width === 0 || (field.end - field.start) % width !== 0) return undefined;
    return field.bytes.subarray(field.start, field.end);
  });
  if (dtype === "float32" || dtype === "float64") {
    const bytes = new Uint8Array(Buffer.concat(fixed.filter((part) => part !== undefined)));
    const width = bytesPerElement(dtype);
    return viewBytes(
      bytes.subarray(0, bytes.length - (bytes.length % width)),
      [Math.floor(bytes.length / width)],
      dtype,
    ).data;
  }
  const numbers = fields.filter(({ number }) => number > 6).flatMap(readVarints);
  const { data } = zeros([numbers.length], dtype);
  for (const [i, value] of numbers.entries()) {
    const wide = dtype === "int64" || dtype === "uint64";
    data[i] = wide ? value : Number(BigInt.asIntN(64, value));
  }
  return data;
}

/** Elements that a file leaves out equal the last one that it holds, or zero. */
function repeatLast<D extends DType>(
  values: NdArray["data"],
  shape: readonly number[],
  dtype: D,
): NdArray<D>["data"] {
  const { data } = zeros(shape, dtype);
  const out = data as Float32Array;
  out.set(values as Float32Array);
  if (values.length > 0) out.fill(values.at(-1) as number, values.length);
  return data;
}

function malformed(path: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `graphdef ${path}: ${problem}. the file is damaged or of another format`,
  );
}
