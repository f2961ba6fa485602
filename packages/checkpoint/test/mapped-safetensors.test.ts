import { mkdtemp, open, readFile, realpath, rm, symlink, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NdArray, ndarray } from "@aligntok/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { joinRows, mapSafetensors, readSafetensors, writeSafetensors } from "../src/index.ts";

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "aligntok-mapped-")));
  path = join(folder, "a.safetensors");
  await writeSafetensors(
    path,
    {
      floats: ndarray(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]),
      halves: ndarray(Uint16Array.of(7, 8), [2], "float16"),
      empty: ndarray(new Int32Array(0), [0, 4], "int32"),
    },
    { metadata: { format: "pt" } },
  );
});
afterAll(() => rm(folder, { recursive: true }));

it("gives what readSafetensors gives, and where it lies", async () => {
  const link = join(folder, "link.safetensors");
  await symlink(path, link);
  const mapped = await mapSafetensors(link);
  expect(mapped).toEqual(await readSafetensors(path));
  const { source } = mapped.tensors.floats!;
  expect(source!.path).toBe(path);
  const bytes = (await readFile(path)).subarray(source!.offset, source!.offset + 24);
  expect(new Float32Array(Uint8Array.from(bytes).buffer)).toEqual(mapped.tensors.floats!.data);
  expect(mapped.tensors.floats!.data).toBe(mapped.tensors.floats!.data);
});

it("joins rows of mapped and other arrays", async () => {
  const { tensors } = await mapSafetensors(path);
  const mapped = tensors.floats as NdArray<"float32">;
  const joined = joinRows([mapped, ndarray(Float32Array.of(9, 8, 7), [1, 3]), mapped]);
  expect(joined.shape).toEqual([5, 3]);
  expect([...joined.data]).toEqual([1, 2, 3, 4, 5, 6, 9, 8, 7, 1, 2, 3, 4, 5, 6]);
  expect(() => joinRows([mapped, ndarray(new Float32Array(2), [1, 2])])).toThrow(/\[\*,3\]/);
});

it("reads no data before it is looked at, and none of a file written since", async () => {
  const { tensors } = await mapSafetensors(path);
  expect(tensors.halves!.data).toEqual(Uint16Array.of(7, 8));
  await utimes(path, 1, 1);
  expect(() => tensors.floats!.data).toThrow(
    "expected the file that was opened, got one written since. load it again",
  );
  expect(tensors.halves!.data).toEqual(Uint16Array.of(7, 8));
});

it("refuses what readSafetensors refuses", async () => {
  await expect(mapSafetensors(join(folder, "none"))).rejects.toMatchObject({ code: "not-found" });
  await expect(mapSafetensors(folder)).rejects.toMatchObject({ code: "bad-input" });
});

it("reads beyond 4 GiB by position (a sparse file)", async () => {
  const large = join(folder, "large.safetensors");
  const length = 2 ** 32 + 8;
  const json = JSON.stringify({
    a: { dtype: "U8", shape: [length], data_offsets: [0, length] },
    b: { dtype: "F32", shape: [1], data_offsets: [length, length + 4] },
  });
  const header = Buffer.alloc(8 + json.length);
  header.writeBigUInt64LE(BigInt(json.length));
  header.write(json, 8);
  const file = await open(large, "w");
  await file.write(header, 0, header.length, 0);
  const end = Buffer.from(Float32Array.of(-1.5).buffer);
  await file.write(end, 0, 4, header.length + length);
  await file.close();
  expect((await mapSafetensors(large)).tensors.b!.data).toEqual(Float32Array.of(-1.5));
});
