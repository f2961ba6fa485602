/**
 * The header of a safetensors file: what lies where.
 *
 * A file is an 8-byte little-endian length n, n bytes of JSON (`{name: {dtype, shape, data_offsets},
 * "__metadata__": {string: string}}`, padded with spaces), then the data, to whose start the offsets
 * refer. Tensors must cover the data without overlap or hole, so a header has one meaning only.
 * Format: https://huggingface.co/docs/safetensors
 */

import {
  AlignTokError,
  byteLength,
  check,
  type DType,
  dtypes,
  listSome,
  type NdArray,
} from "@aligntok/core";

/** The bytes before the JSON. */
export const prefixLength = 8;

/** The reference implementation refuses longer headers, so that a bad length cannot exhaust memory. */
const longestHeader = 100_000_000;

const dtypeOf: Readonly<Record<string, DType>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
  F8_E4M3FNUZ: "float8_e4m3fnuz",
  F8_E5M2FNUZ: "float8_e5m2fnuz",
  F8_E8M0: "float8_e8m0fnu",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
};

const codeOf = Object.fromEntries(
  Object.entries(dtypeOf).map(([code, dtype]) => [dtype, code]),
) as Readonly<Record<DType, string>>;

/** The order in which the reference implementation lays out dtypes: wide ones first, which keeps all data aligned. */
const layoutOrder = ["U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"]
  .concat(["F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"])
  .map((code) => dtypeOf[code]!);

/** One tensor of a file; `start` and `end` are bytes from the start of the data. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

export interface Header {
  readonly entries: readonly TensorEntry[];
  readonly metadata: Record<string, string>;
}

/** The length of the JSON, from the first 8 bytes of a file of `fileSize` bytes. */
export function headerLength(prefix: Uint8Array, fileSize: number, source: string): number {
  if (fileSize < prefixLength) {
    throw malformed(source, `expected at least ${prefixLength} bytes, got ${fileSize}`);
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  const length = view.getBigUint64(0, true);
  const most = Math.min(longestHeader, fileSize - prefixLength);
  if (length > BigInt(most)) {
    throw malformed(source, `expected a header of at most ${most} bytes, got ${length}`);
  }
  return Number(length);
}

/** Parses the JSON and checks it against the number of bytes that follow. */
export function parseHeader(json: Uint8Array, dataLength: number, source: string): Header {
  const header = parseJson(json, source);
  const metadata = parseMetadata(header.__metadata__, source);
  const entries = Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => parseEntry(name, value, dataLength, source))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.start !== end) {
      const problem = entry.start < end ? "overlaps the tensor before it" : "leaves a hole";
      throw malformed(
        source,
        `tensor ${entry.name}: expected data from byte ${end}, got ${entry.start}, which ${problem}`,
      );
    }
    end = entry.end;
  }
  if (end !== dataLength) {
    throw malformed(source, `expected ${end} bytes of data, got ${dataLength}`);
  }
  return { entries, metadata };
}

function parseJson(json: Uint8Array, source: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json));
  } catch (cause) {
    throw malformed(source, `expected a JSON header, got ${(cause as Error).message}`, cause);
  }
  if (!isRecord(header)) {
    throw malformed(source, "expected a JSON object as header, got another JSON value");
  }
  return header;
}

function parseMetadata(value: unknown, source: string): Record<string, string> {
  if (value === undefined) return {};
  if (!isRecord(value) || Object.values(value).some((text) => typeof text !== "string")) {
    throw malformed(source, "expected __metadata__ to map strings to strings, got something else");
  }
  return value as Record<string, string>;
}

function parseEntry(name: string, value: unknown, dataLength: number, source: string): TensorEntry {
  const where = `tensor ${name}`;
  if (!isRecord(value))
    throw malformed(source, `${where}: expected an object, got ${typeof value}`);
  const { dtype: code, shape, data_offsets: offsets } = value;
  if (typeof code !== "string") throw malformed(source, `${where}: expected a dtype, got none`);
  const dtype = Object.hasOwn(dtypeOf, code) ? dtypeOf[code] : undefined;
  if (!dtype) {
    throw new AlignTokError(
      "unsupported",
      `safetensors ${source}: ${where}: expected dtype ${Object.keys(dtypeOf).join(", ")}, got ${code.slice(0, 20)}. convert it with PyTorch first, for example to BF16`,
    );
  }
  if (!isCounts(shape)) {
    throw malformed(source, `${where}: expected a shape of whole numbers, got something else`);
  }
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw malformed(source, `${where}: expected two data_offsets, got something else`);
  }
  const [start, end] = offsets as [number, number];
  if (start > end || end > dataLength) {
    throw malformed(
      source,
      `${where}: expected offsets within ${dataLength} bytes of data, got [${start}, ${end}]`,
    );
  }
  const size = byteLength({ dtype, shape });
  if (size !== end - start) {
    throw malformed(
      source,
      `${where}: expected ${size} bytes for ${code} [${listSome(shape.map(String))}], got ${end - start}`,
    );
  }
  return { name, dtype, shape, start, end };
}

/** The prefix and the JSON for tensors, and the tensors in the order in which their data must follow. */
export function formatHeader(
  tensors: Readonly<Record<string, NdArray>>,
  metadata: Readonly<Record<string, string>> | undefined,
): { readonly bytes: Uint8Array; readonly ordered: readonly (readonly [string, NdArray])[] } {
  const header: [string, unknown][] = [];
  if (metadata) {
    for (const [key, value] of Object.entries(metadata)) {
      check(
        typeof value === "string",
        () => `safetensors metadata ${key}: expected a string, got ${typeof value}`,
      );
    }
    header.push(["__metadata__", metadata]);
  }
  const entries = Object.entries(tensors).sort(
    ([a, { dtype: p }], [b, { dtype: q }]) =>
      layoutOrder.indexOf(p) - layoutOrder.indexOf(q) || (a < b ? -1 : 1),
  );
  let start = 0;
  for (const [name, { dtype, shape }] of entries) {
    check(name !== "__metadata__", "safetensors: expected another name, got a tensor __metadata__");
    check(
      dtypes.includes(dtype),
      () => `safetensors tensor ${name}: expected dtype ${dtypes.join(", ")}, got ${dtype}`,
    );
    const end = start + byteLength({ dtype, shape });
    header.push([name, { dtype: codeOf[dtype], shape, data_offsets: [start, end] }]);
    start = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  // spaces up to a multiple of 8, so that the data is aligned for every dtype
  const length = Math.ceil(json.length / 8) * 8;
  check(
    length <= longestHeader,
    () => `safetensors: expected a header of at most ${longestHeader} bytes, got ${length}`,
  );
  const bytes = new Uint8Array(prefixLength + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, prefixLength);
  return { bytes, ordered: entries };
}

function malformed(source: string, problem: string, cause?: unknown): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `safetensors ${source}: ${problem}. the file is damaged, incomplete or of another format`,
    { cause },
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}
