/** Arrays as NumPy writes them (tools/golden/checkpoint-numpy.py). */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, byteLength, dtypes, type NdArray, ndarray, zeros } from "@aligntok/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  castFloats,
  createNpzWriter,
  openCheckpoint,
  parseNpy,
  readNpy,
  readNpz,
  readSafetensors,
  serializeNpy,
  writeNpy,
  writeNpz,
} from "../src/index.ts";

const fixtures = join(import.meta.dirname, "fixtures/numpy");
const fixture = (name: string) => join(fixtures, name);
let folder: string;
let expected: Record<string, NdArray>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "numpy-"));
  ({ tensors: expected } = await readSafetensors(fixture("same.safetensors")));
});
afterAll(() => rm(folder, { recursive: true }));

function expectSame(arrays: Readonly<Record<string, NdArray>>): void {
  expect(Object.keys(arrays).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    const got = arrays[name]!;
    expect({ dtype: got.dtype, shape: got.shape }, name).toEqual({ dtype, shape });
    expect(got.data, name).toEqual(data);
  }
}

describe("npz", () => {
  const files = ["stored.npz", "compressed.npz"];

  test.each(files)("%s: every dtype, byte order and layout, read and opened", async (file) => {
    expectSame(await readNpz(fixture(file)));
    const { format, tensors, metadata } = await openCheckpoint(fixture(file));
    expect({ format, metadata }).toEqual({ format: "npz", metadata: {} });
    expectSame(tensors);
    for (const name of ["big.f4", "fortran"]) expect(tensors[name]!.source).toBeUndefined();
  });

  test("what is written can be mapped by an engine: aligned, and as in memory", async () => {
    const path = join(folder, "aligned.npz");
    await writeNpz(path, expected);
    expectSame(await readNpz(path));
    const { tensors } = await openCheckpoint(path);
    expectSame(tensors);
    const bytes = await readFile(path);
    for (const { shape, dtype, source, data } of Object.values(tensors)) {
      expect(source!.offset % 64).toBe(0);
      const there = bytes.subarray(source!.offset, source!.offset + byteLength({ shape, dtype }));
      expect(there.equals(new Uint8Array(data.buffer))).toBe(true);
    }
  });

  test("what is written has NumPy's own bytes for every array", async () => {
    const path = join(folder, "own.npz");
    const { scalar, empty, bool, f2, i8 } = expected as Record<string, NdArray>;
    await writeNpz(path, { scalar: scalar!, empty: empty!, bool: bool!, f2: f2!, "ä/ö": i8! });
    const again = await readNpz(path);
    expect(again).toEqual({ scalar, empty, bool, f2, "ä/ö": i8 });
    expect(Object.keys(again)).toEqual(["scalar", "empty", "bool", "f2", "ä/ö"]);
    const numpys = await readFile(fixture("stored.npz"));
    for (const [name, array] of Object.entries(expected)) {
      if (/^big|^fortran/.test(name)) continue;
      expect(numpys.includes(Buffer.from(serializeNpy(array))), name).toBe(true);
    }
  });

  test("in parts, and nothing under its name before it is whole", async () => {
    const path = join(folder, "parts.npz");
    const file = await createNpzWriter(path);
    await file.begin("a", { dtype: "int32", shape: [4] });
    await file.append(Int32Array.of(1, 2, 3));
    await expect(file.begin("b", { dtype: "int8", shape: [] })).rejects.toThrow(
      "expected 144 bytes of a.npy, got 140",
    );
    await file.append(Int32Array.of(4));
    await expect(file.begin("a", { dtype: "int8", shape: [] })).rejects.toThrow("a twice");
    await file.begin("b", { dtype: "int8", shape: [] });
    await file.append(Int8Array.of(-5));
    expect(await readdir(folder)).not.toContain("parts.npz");
    await file.finish();
    await file.discard();
    expect(await readNpz(path)).toEqual({
      a: ndarray(Int32Array.of(1, 2, 3, 4), [4], "int32"),
      b: ndarray(Int8Array.of(-5), [], "int8"),
    });
  });

  test("a signal stops between two arrays and leaves nothing behind", async () => {
    const controller = new AbortController();
    const arrays = { a: zeros([3]), b: zeros([3]), c: zeros([3]) };
    const seen: number[] = [];
    const written = writeNpz(join(folder, "stopped.npz"), arrays, {
      signal: controller.signal,
      onProgress({ done, total }) {
        expect(total).toBe(36);
        if (seen.push(done) === 2) controller.abort();
      },
    });
    await expect(written).rejects.toMatchObject({ code: "aborted" });
    expect(seen).toEqual([12, 24]);
    expect((await readdir(folder)).filter((name) => name.startsWith("stopped"))).toEqual([]);
  });

  test("a damaged member is refused by name, a zip of another kind, too", async () => {
    for (const file of files) {
      const bytes = await readFile(fixture(file));
      const at = bytes.indexOf("vector.npy") + 10 + 20 + 40; // behind name and zip64 field
      bytes[at]! ^= 4;
      const path = join(folder, file);
      await writeFile(path, bytes);
      await expect(readNpz(path)).rejects.toMatchObject({
        code: "bad-format",
        message: expect.stringContaining(`${file}: vector.npy`),
      });
    }
    await expect(readNpz(fixture("other.zip"))).rejects.toThrow("got a/readme.txt");
    await expect(readNpz(join(folder, "absent.npz"))).rejects.toMatchObject({ code: "not-found" });
  });

  test("a zip64 directory that lies nowhere is an error, not the end of the process", async () => {
    const whole = join(folder, "whole.npz");
    await writeNpz(whole, { a: zeros([2]) });
    for (const [mark, field] of [
      ["PK\x06\x07", 8],
      ["PK\x06\x06", 48],
    ] as const) {
      const bytes = await readFile(whole);
      bytes.writeBigUInt64LE(2n ** 62n, bytes.lastIndexOf(mark) + field);
      const path = join(folder, "nowhere.npz");
      await writeFile(path, bytes);
      await expect(readNpz(path)).rejects.toMatchObject({ code: "bad-format" });
    }
  });

  test("a size that the packed bytes cannot have is refused before anything is allocated", async () => {
    const bytes = await readFile(fixture("compressed.npz"));
    const entry = bytes.lastIndexOf("PK\x01\x02");
    bytes.writeUInt32LE(0xfffffff0, entry + 24);
    const path = join(folder, "bomb.npz");
    await writeFile(path, bytes);
    await expect(readNpz(path)).rejects.toThrow(/cannot hold 4294967280/);
  });
});

describe("npy", () => {
  test.each(["v1", "v2", "v3"])("format %s", async (version) => {
    expect(await readNpy(fixture(`${version}.npy`))).toEqual(expected.f4);
    expect(parseNpy(await readFile(fixture(`${version}.npy`)))).toEqual(expected.f4);
  });

  test("opens as a checkpoint of one array, read when looked at", async () => {
    const { format, tensors } = await openCheckpoint(fixture("v1.npy"));
    expect(format).toBe("npy");
    expect(Object.keys(tensors)).toEqual(["array"]);
    expect(tensors.array!.source?.offset).toBe(128);
    expect(tensors.array!.data).toEqual(expected.f4!.data);
    const fortran = (await openCheckpoint(fixture("fortran.npy"))).tensors.array!;
    expect(fortran.source).toBeUndefined();
    expect(fortran.data).toEqual(expected.fortran!.data);
  });

  test("is written byte for byte as NumPy writes it", async () => {
    for (const [name, key] of [
      ["v1", "f4"],
      ["scalar", "scalar"],
      ["empty", "empty"],
    ] as const) {
      const numpys = await readFile(fixture(`${name}.npy`));
      expect(Buffer.from(serializeNpy(expected[key]!)).equals(numpys), name).toBe(true);
      const path = join(folder, `${name}.npy`);
      await writeNpy(path, expected[key]!);
      expect((await readFile(path)).equals(numpys), name).toBe(true);
    }
  });

  test("dtypes that NumPy does not have are refused with the next step", async () => {
    const { weight } = castFloats({ weight: zeros([2]) }, "bfloat16");
    await expect(writeNpz(join(folder, "bf16.npz"), { weight: weight! })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/npy weight: .*got bfloat16\. convert it to float32 first/),
    });
    const written = dtypes.filter((dtype) => {
      try {
        return serializeNpy(zeros([1], dtype)).length > 0;
      } catch (error) {
        expect(AlignTokError.isInstance(error)).toBe(true);
        return false;
      }
    });
    expect(written.length).toBe(12);
    expect(written).not.toContain("bfloat16");
  });

  const refusals: Record<string, RegExp> = {
    object: /Python objects, which would have to be executed/,
    text: /got text/,
    record: /records of several fields/,
    "record-unicode": /records of several fields/,
    complex: /complex numbers/,
    dates: /dates/,
    raw: /perhaps bfloat16/,
    long: /another dtype \(<f16\)/,
  };
  test("other dtypes are refused, each with what it is", async () => {
    const files = readdirSync(fixtures).filter((name) => name.startsWith("refused-"));
    expect(files.length).toBe(Object.keys(refusals).length);
    for (const [name, message] of Object.entries(refusals)) {
      await expect(readNpy(fixture(`refused-${name}.npy`)), name).rejects.toMatchObject({
        code: "unsupported",
        message: expect.stringMatching(message),
      });
    }
  });

  test("headers in other spellings, and damaged ones", () => {
    const numpys = readFileSync(fixture("v1.npy"));
    const withHeader = (text: string) => {
      const header = Buffer.from(`${text.padEnd(117)}\n`, "latin1");
      return Buffer.concat([numpys.subarray(0, 10), header, numpys.subarray(128)]);
    };
    const python2 = `{"shape": (3L, 4L, 5L), "fortran_order": False, "descr": "=f4"}`;
    expect(parseNpy(withHeader(python2))).toEqual(expected.f4);
    for (const text of [
      "",
      "{}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5)",
      "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4, 5), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4, 5), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5), 'x': 'y', }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (9007199254740993, 4, 5), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5), } exit()",
    ]) {
      expect(() => parseNpy(withHeader(text)), text).toThrow(/damaged, incomplete/);
    }
    for (const length of [0, 5, 9, 60, 127, 200]) {
      expect(() => parseNpy(numpys.subarray(0, length)), String(length)).toThrow(AlignTokError);
    }
  });
});
