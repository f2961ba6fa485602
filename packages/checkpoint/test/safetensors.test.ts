import { readFileSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, type DType, dtypes, type NdArray, ndarray, zeros } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import { afterAll, describe, expect, test } from "vitest";
import {
  loadParameters,
  parseSafetensors,
  readSafetensors,
  serializeSafetensors,
  writeSafetensors,
} from "../src/index.ts";

const golden = join(import.meta.dirname, "fixtures", "golden.safetensors");
/** What PyTorch reads from the golden file: values as float32. */
const expected: Record<string, { dtype: DType; shape: number[]; float32: (number | string)[] }> =
  JSON.parse(readFileSync(join(import.meta.dirname, "fixtures", "golden.json"), "utf8"));

const folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
afterAll(() => rm(folder, { recursive: true }));

/** A file of that header and as many zero bytes of data. */
function fileOf(header: unknown, dataLength = 0, length?: bigint): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function entry(dtype: unknown, shape: unknown, data_offsets: unknown) {
  return { dtype, shape, data_offsets };
}

function parseError(bytes: Uint8Array): AlignTokError {
  try {
    parseSafetensors(bytes);
  } catch (error) {
    expect(AlignTokError.isInstance(error), String(error)).toBe(true);
    return error as AlignTokError;
  }
  throw new Error("expected an error, but the bytes were parsed");
}

async function failure(promise: Promise<unknown>): Promise<AlignTokError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(AlignTokError.isInstance(error), String(error)).toBe(true);
  return error as AlignTokError;
}

describe("files of the Python library", () => {
  test("every dtype is covered", () => {
    const covered = new Set(Object.values(expected).map(({ dtype }) => dtype));
    // the Python library has no PyTorch dtype for F8_E8M0; the values are tested in core
    const known = dtypes.filter((dtype) => dtype !== "float8_e8m0fnu");
    expect([...covered].sort()).toEqual([...known].sort());
  });

  test("readSafetensors gives names, dtypes, shapes and metadata", async () => {
    const { tensors, metadata } = await readSafetensors(golden);
    expect(metadata).toEqual({ format: "pt" });
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, { dtype, shape }] of Object.entries(expected)) {
      expect(tensors[name], name).toMatchObject({ dtype, shape });
    }
    expect(tensors["block.int64"]!.data).toEqual(new BigInt64Array([0n, 1n, 1n, 0n, 5n, 100n]));
    expect(tensors["block.bool"]!.data).toEqual(new Uint8Array([0, 1, 1, 0, 1, 1]));
    expect(tensors["naïve ✓"]!.data.at(-1)).toBe(-0);
  });

  test("loadParameters gives PyTorch's float32 values", async () => {
    const parameters = await loadParameters(golden);
    expect(Object.keys(parameters).length).toBe(Object.keys(expected).length);
    for (const [name, { shape, float32 }] of Object.entries(expected)) {
      const numbers = float32.map((x) =>
        typeof x === "string" ? Number(x.replace("inf", "Infinity")) : x,
      );
      expect(parameters[name], name).toEqual(ndarray(Float32Array.from(numbers), shape));
    }
  });

  test("parseSafetensors equals readSafetensors, at any alignment", async () => {
    const bytes = readFileSync(golden);
    const read = await readSafetensors(golden);
    for (const shift of [0, 1, 3]) {
      const shifted = new Uint8Array(bytes.length + shift).subarray(shift);
      shifted.set(bytes);
      const parsed = parseSafetensors(shifted);
      shifted.fill(0); // the arrays own their memory
      expect(parsed).toEqual(read);
    }
  });

  test("what is written is what the Python library would write, byte for byte", async () => {
    const { tensors, metadata } = await readSafetensors(golden);
    const shuffled = Object.fromEntries(Object.entries(tensors).reverse());
    const bytes = new Uint8Array(readFileSync(golden));
    expect(serializeSafetensors(shuffled, { metadata })).toEqual(bytes);
    const path = join(folder, "copy.safetensors");
    await writeSafetensors(path, shuffled, { metadata });
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
  });
});

describe("real weights", () => {
  const vit = sharedData("vit-tiny-patch16-224", "model.safetensors");
  test.skipIf(!vit)("ViT-Tiny (skipped without ../shared/data)", async () => {
    const parameters = await loadParameters(vit!);
    expect(parameters["patch_embed.proj.weight"]!.shape).toEqual([192, 3, 16, 16]);
    expect(parameters["blocks.11.attn.qkv.weight"]!.shape).toEqual([576, 192]);
    const values = Object.values(parameters).flatMap(({ data }) => [data[0]!, data.at(-1)!]);
    expect(values.every(Number.isFinite)).toBe(true);
  });
});

describe("round trips", () => {
  test("names that are special in JavaScript, and no tensors at all", () => {
    const one = ndarray(Float32Array.of(1), [1]);
    const tensors = Object.fromEntries(
      ["__proto__", "constructor", "10", "2", "", 'a"\\\n'].map((name) => [name, one]),
    );
    const parsed = parseSafetensors(serializeSafetensors(tensors)).tensors;
    expect(Object.keys(parsed).sort()).toEqual(Object.keys(tensors).sort());
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
    expect(parseSafetensors(serializeSafetensors({}))).toEqual({ tensors: {}, metadata: {} });
  });

  test("views into a larger array are written alone", () => {
    const all = Float32Array.from({ length: 10 }, (_, i) => i);
    const bytes = serializeSafetensors({ part: ndarray(all.subarray(3, 7), [2, 2]) });
    const { part } = parseSafetensors(bytes).tensors;
    expect([...(part!.data as Float32Array)]).toEqual([3, 4, 5, 6]);
  });

  test("data starts at a multiple of 8", () => {
    for (const name of ["a", "ab", "abc", "abcd", "abcde"]) {
      const bytes = serializeSafetensors({ [name]: zeros([1], "float64") });
      expect(bytes.length % 8).toBe(0);
    }
  });

  test("refuse arrays that do not fit their shape or dtype", async () => {
    const wrong = { dtype: "float32", shape: [3], data: new Float32Array(2) } as NdArray;
    const message =
      "safetensors tensor w: expected 3 elements of float32 for shape [3], got 8 bytes";
    expect(() => serializeSafetensors({ w: wrong })).toThrow(message);
    expect((await failure(writeSafetensors(join(folder, "w"), { w: wrong }))).code).toBe(
      "bad-input",
    );
    const complex = { dtype: "complex64", shape: [1], data: new Float32Array(2) };
    expect(() => serializeSafetensors({ w: complex as unknown as NdArray })).toThrow(
      "got complex64",
    );
    expect(() => serializeSafetensors({ __metadata__: zeros([1]) })).toThrow("__metadata__");
    const metadata = { step: 3 } as unknown as Record<string, string>;
    expect(() => serializeSafetensors({}, { metadata })).toThrow(
      "metadata step: expected a string",
    );
  });
});

describe("damaged files", () => {
  const f32 = (begin: number, end: number) => entry("F32", [(end - begin) / 4], [begin, end]);

  test.each<[string, Uint8Array, string]>([
    ["no bytes", new Uint8Array(), "expected at least 8 bytes, got 0"],
    ["only a length", fileOf("", 0, 1n), "expected a header of at most 0 bytes, got 1"],
    ["an absurd length", fileOf("{}", 0, 2n ** 64n - 1n), "got 18446744073709551615"],
    ["no JSON", fileOf("{'a'"), "expected a JSON header"],
    ["bad UTF-8", fileOf("{}").map((b) => (b === 0x7d ? 0xff : b)), "expected a JSON header"],
    ["a byte order mark", fileOf("\ufeff{}"), "expected a JSON header"],
    ["deep nesting", fileOf("[".repeat(1e6)), "expected a JSON header"],
    ["an array", fileOf([]), "expected a JSON object"],
    ["null", fileOf("null"), "expected a JSON object"],
    ["an entry of null", fileOf({ w: null }), "tensor w: expected an object"],
    ["no dtype", fileOf({ w: entry(undefined, [1], [0, 4]) }, 4), "tensor w: expected a dtype"],
    ["no shape", fileOf({ w: entry("F32", undefined, [0, 4]) }, 4), "expected a shape"],
    ["a negative size", fileOf({ w: entry("F32", [-1, -1], [0, 4]) }, 4), "expected a shape"],
    ["a fraction", fileOf({ w: entry("F32", [0.5, 2], [0, 4]) }, 4), "expected a shape"],
    ["a huge size", fileOf({ w: entry("F32", [2 ** 60], [0, 4]) }, 4), "expected a shape"],
    [
      "a product that overflows",
      fileOf({ w: entry("U8", [2 ** 32, 2 ** 32], [0, 0]) }),
      "expected 18446744073709552000 bytes for U8",
    ],
    [
      "a product that is not a number",
      fileOf({ w: entry("U8", [...Array(25).fill(2 ** 50), 0], [0, 0]) }),
      "tensor w: expected NaN bytes",
    ],
    ["no offsets", fileOf({ w: entry("F32", [1], undefined) }, 4), "expected two data_offsets"],
    ["three offsets", fileOf({ w: entry("F32", [1], [0, 4, 8]) }, 4), "expected two data_offsets"],
    ["offsets beyond the data", fileOf({ w: f32(0, 8) }, 4), "within 4 bytes of data, got [0, 8]"],
    ["offsets in reverse", fileOf({ w: entry("F32", [0], [4, 0]) }, 4), "got [4, 0]"],
    [
      "another size",
      fileOf({ w: entry("F32", [2], [0, 4]) }, 4),
      "expected 8 bytes for F32 [2], got 4",
    ],
    [
      "overlap",
      fileOf({ a: f32(0, 8), b: f32(4, 12) }, 12),
      "tensor b: expected data from byte 8, got 4",
    ],
    ["a hole", fileOf({ a: f32(0, 4), b: f32(8, 12) }, 12), "which leaves a hole"],
    ["a hole at the start", fileOf({ a: f32(4, 8) }, 8), "expected data from byte 0, got 4"],
    ["data beyond the tensors", fileOf({ a: f32(0, 4) }, 5), "expected 4 bytes of data, got 5"],
    ["metadata of numbers", fileOf({ __metadata__: { a: 1 } }), "__metadata__ to map strings"],
    ["metadata of null", fileOf({ __metadata__: null }), "__metadata__ to map strings"],
  ])("%s", async (_, bytes, message) => {
    const error = parseError(bytes);
    expect(error.code).toBe("bad-format");
    expect(error.message).toContain(`safetensors bytes: `);
    expect(error.message).toContain(message);
    const path = join(folder, "damaged.safetensors");
    await writeFile(path, bytes);
    const fromFile = await failure(readSafetensors(path));
    expect(fromFile.code).toBe("bad-format");
    expect(fromFile.message).toContain(`safetensors ${path}: `);
  });

  test.each(["F4", "F6_E2M3", "C64", "toString"])("dtype %s is unsupported", (dtype) => {
    const error = parseError(fileOf({ w: entry(dtype, [4], [0, 4]) }, 4));
    expect(error.code).toBe("unsupported");
    expect(error.message).toContain(`tensor w: expected dtype F64, F32, `);
    expect(error.message).toContain(`got ${dtype}. convert it`);
  });

  test("a file cut anywhere", async () => {
    const bytes = new Uint8Array(readFileSync(golden));
    for (let length = 0; length < bytes.length; length += 7) {
      expect(parseError(bytes.subarray(0, length)).code).toBe("bad-format");
    }
    const path = join(folder, "cut.safetensors");
    await writeFile(path, bytes);
    await truncate(path, bytes.length - 1);
    expect((await failure(loadParameters(path))).message).toContain(`${path}: `);
  });

  test("no file, and a folder", async () => {
    const missing = await failure(readSafetensors(join(folder, "absent.safetensors")));
    expect(missing.code).toBe("not-found");
    expect(missing.message).toContain("absent.safetensors: expected an existing file");
    expect((await failure(readSafetensors(folder))).message).toContain("got a folder");
  });
});
