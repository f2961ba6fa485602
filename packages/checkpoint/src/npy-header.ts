/**
 * The header of NumPy's arrays on disk: magic, version, length, and a Python dictionary of dtype, order and shape.
 * Format: numpy, `doc/source/reference/generated/numpy.lib.format`, versions 1.0 to 3.0.
 */
import { AlignTokError, byteLength, type DType, type NdArray } from "@aligntok/core";

const magic = "\x93NUMPY";
/** Versions, and the bytes of the field that holds the length of the dictionary. */
const lengthFields: Readonly<Record<number, 2 | 4>> = { 1: 2, 2: 4, 3: 4 };
/** Longer ones are of structured dtypes alone. */
const longestDictionary = 2 ** 16;
/** As in NumPy 2. */
const mostDimensions = 64;
/** NumPy leaves room for the first dimension to grow to so many digits. */
const growthDigits = 21;

/** What begins with enough bytes holds any header that is read here. */
export const longestNpyHeader = 12 + longestDictionary;

const codeOf: Readonly<Partial<Record<DType, string>>> = {
  float64: "<f8",
  float32: "<f4",
  float16: "<f2",
  int64: "<i8",
  int32: "<i4",
  int16: "<i2",
  int8: "|i1",
  uint64: "<u8",
  uint32: "<u4",
  uint16: "<u2",
  uint8: "|u1",
  bool: "|b1",
};
const dtypeOf = new Map(Object.entries(codeOf).map(([dtype, code]) => [code.slice(1), dtype]));

export interface NpyHeader {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly isBigEndian: boolean;
  /** Whether the first dimension runs fastest. */
  readonly isFortran: boolean;
  /** Bytes before the first element. */
  readonly dataStart: number;
}

/** Whether bytes begin like a `.npy` file. */
export function startsNpy(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, magic.length)).toString("latin1") === magic;
}

/**
 * The header that `head`, the first `longestNpyHeader` bytes or all, begins with.
 *
 * @param source what errors call it, and the bytes that it has in all
 * @throws AlignTokError `bad-format`; `unsupported` for objects, text, dates, complex numbers and records
 */
export function parseNpyHeader(
  head: Uint8Array,
  source: { readonly name: string; readonly size: number },
): NpyHeader {
  const { name, size } = source;
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const field = lengthFields[bytes[6] ?? 0];
  if (!startsNpy(head) || !field || bytes.length < 8 + field) {
    throw malformed(name, `expected ${magic.slice(1)} 1 to 3, got ${bytes.length} other bytes`);
  }
  const length = bytes.readUIntLE(8, field);
  const dataStart = 8 + field + length;
  if (length > longestDictionary || dataStart > bytes.length) {
    throw malformed(name, `expected a header within ${bytes.length} bytes, got ${length}`);
  }
  const text = bytes.toString(bytes[6] === 3 ? "utf8" : "latin1", 8 + field, dataStart);
  const { descr, isFortran, shape } = parseDictionary(text, name);
  const { dtype, isBigEndian } = parseDescr(descr, name);
  const expected = byteLength({ dtype, shape });
  if (expected !== size - dataStart) {
    throw malformed(
      name,
      `expected ${expected} bytes for ${dtype} [${shape}], got ${size - dataStart}`,
    );
  }
  return { dtype, shape, isBigEndian, isFortran, dataStart };
}

/** `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order. */
function parseDictionary(text: string, name: string) {
  if (/['"]descr['"]\s*:\s*[[({]/.test(text)) {
    throw new AlignTokError(
      "unsupported",
      `npy ${name}: expected numbers, got records of several fields. save each field as an array of its own`,
    );
  }
  const item =
    /\s*['"](\w+)['"]\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)"|(True|False)|\(([\s\dL,]*)\))\s*(?:,|(?=\}))/y;
  const fields = new Map<string, { text?: string; flag?: string; tuple?: string }>();
  const start = text.indexOf("{") + 1;
  item.lastIndex = start;
  let end = start;
  for (let found = item.exec(text); found; found = item.exec(text)) {
    const [, key = "", single, double, flag, tuple] = found;
    const value = single ?? double;
    fields.set(key, {
      ...(value !== undefined && { text: value }),
      ...(flag !== undefined && { flag }),
      ...(tuple !== undefined && { tuple }),
    });
    end = item.lastIndex;
  }
  const descr = fields.get("descr")?.text;
  const flag = fields.get("fortran_order")?.flag;
  const tuple = fields.get("shape")?.tuple;
  const isWhole = start > 0 && /^\s*\}\s*$/.test(text.slice(end)) && fields.size === 3;
  if (!isWhole || descr === undefined || flag === undefined || tuple === undefined) {
    throw malformed(
      name,
      `expected descr, fortran_order and shape, got ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
  return { descr, isFortran: flag === "True", shape: parseShape(tuple, name) };
}

/** `3, 4`, `3,` or nothing; Python 2 wrote `3L`. */
function parseShape(tuple: string, name: string): number[] {
  const parts = tuple.split(",").map((part) => part.trim().replace(/L$/, ""));
  if (parts.at(-1) === "") parts.pop();
  const shape = parts.map((part) => (/^\d{1,16}$/.test(part) ? Number(part) : Number.NaN));
  if (shape.length > mostDimensions || !shape.every(Number.isSafeInteger)) {
    throw malformed(name, `expected a shape of whole numbers, got (${tuple.slice(0, 80)})`);
  }
  return shape;
}

/** Kinds of NumPy that have no dtype here. */
const otherKinds: Readonly<Record<string, string>> = {
  O: "Python objects, which would have to be executed",
  U: "text",
  S: "text",
  a: "text",
  V: "raw bytes, perhaps bfloat16 or float8, which NumPy itself does not have",
  c: "complex numbers",
  M: "dates",
  m: "time spans",
};

/** `<f4`, `>i8`, `|b1` and so on. @throws AlignTokError `unsupported` for what is no number */
export function parseDescr(descr: string, name: string): { dtype: DType; isBigEndian: boolean } {
  const [, order, code = ""] = /^([<>|=]?)(.*)$/s.exec(descr) ?? [];
  const dtype = dtypeOf.get(code) as DType | undefined;
  if (dtype) return { dtype, isBigEndian: order === ">" };
  const got = otherKinds[code[0] ?? ""] ?? "another dtype";
  throw new AlignTokError(
    "unsupported",
    `npy ${name}: expected an array of real numbers, got ${got} (${descr.slice(0, 20)}). save it from Python with .astype(numpy.float32) or another dtype of numbers`,
  );
}

/**
 * The bytes before the elements of a `.npy` file, as NumPy 2 writes them (version 1.0): those of arrays of another
 * length along the first dimension are equally long.
 *
 * `name` is what errors call it.
 *
 * @throws AlignTokError `unsupported` for bfloat16 and float8, which NumPy does not have
 */
export function formatNpyHeader(
  { dtype, shape }: Pick<NdArray, "dtype" | "shape">,
  { name = "array" }: { readonly name?: string } = {},
): Uint8Array {
  const code = codeOf[dtype];
  if (!code) {
    throw new AlignTokError(
      "unsupported",
      `npy ${name}: expected a dtype of NumPy, got ${dtype}. convert it to float32 first (castFloats, or --dtype float32), or write safetensors`,
    );
  }
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const room = shape.length > 0 ? growthDigits - String(shape[0]).length : 0;
  const dictionary = `{'descr': '${code}', 'fortran_order': False, 'shape': (${tuple}), }${" ".repeat(room)}`;
  const length = Math.ceil((10 + dictionary.length + 1) / 64) * 64 - 10;
  const header = Buffer.alloc(10 + length, " ");
  header.write(magic, "latin1");
  header.set([1, 0, length & 255, length >> 8], 6);
  header.write(dictionary, 10, "latin1");
  header.write("\n", header.length - 1);
  return new Uint8Array(header);
}

function malformed(name: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `npy ${name}: ${problem}. the file is damaged, incomplete or of another format`,
  );
}
