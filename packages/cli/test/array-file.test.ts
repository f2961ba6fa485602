import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors } from "@aligntok/checkpoint";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createArrayFile } from "../src/array-file.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-array-"));
});
afterAll(() => rm(folder, { recursive: true }));

const values = Float32Array.from({ length: 24 }, (_, i) => i / 8 - 1);
const content = {
  shape: [4, 3, 2],
  keys: ["a", "b/ü", "c", "d"],
  labels: Int32Array.of(0, 2, 1, 2),
};

test("npy: the header that numpy.save writes, and rows in order", async () => {
  const path = join(folder, "tokens.npy");
  const file = await createArrayFile(path, content);
  await file.append(values.subarray(0, 18));
  expect(await readdir(folder)).not.toContain("tokens.npy"); // no name before it is whole
  await file.append(values.subarray(18));
  await file.finish();
  await file.discard();
  const bytes = await readFile(path);
  // np.save(f, np.zeros((4, 3, 2), np.float32)) of NumPy 2, first 128 bytes
  const dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 2), }";
  expect(bytes.subarray(0, 10)).toEqual(Buffer.from([0x93, 78, 85, 77, 80, 89, 1, 0, 118, 0]));
  expect(bytes.subarray(10, 128).toString()).toBe(`${dict.padEnd(117)}\n`);
  expect(new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128))).toEqual(values);
});

test("safetensors: tokens, labels and names", async () => {
  const path = join(folder, "tokens.safetensors");
  const file = await createArrayFile(path, content);
  await file.append(values);
  await file.finish();
  const { tensors, metadata } = await readSafetensors(path);
  expect(tensors.features).toMatchObject({ dtype: "float32", shape: [4, 3, 2], data: values });
  expect(tensors.labels).toMatchObject({ dtype: "int32", data: content.labels });
  expect(JSON.parse(metadata.keys!)).toEqual(content.keys);
});

test("parquet: keys, labels and rows in row groups, the shape of a row in the metadata", async () => {
  const path = join(folder, "tokens.parquet");
  const wide = 2 ** 19 - 1; // two rows fill a row group
  const data = Float32Array.from({ length: 5 * wide }, (_, i) => Math.sin(i));
  const { keys, labels } = {
    keys: ["a", "b/ü", "c", "d", "e"],
    labels: Int32Array.of(0, 2, 1, 2, 7),
  };
  const file = await createArrayFile(path, { shape: [5, 1, wide], keys, labels });
  await file.append(data.subarray(0, 3 * wide));
  expect(await readdir(folder)).not.toContain("tokens.parquet");
  await file.leave();
  const again = await createArrayFile(path, { shape: [5, 1, wide], keys, labels }, 3);
  await again.append(data.subarray(3 * wide, 4 * wide));
  await again.finish([0, 1, 3, 4]); // c was left out
  expect(await again.leave()).toBe(false);
  expect((await readdir(folder)).filter((name) => name.includes("parquet"))).toEqual([
    "tokens.parquet",
  ]);
  const buffer = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(buffer);
  expect(metadata.row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([2, 2]);
  expect(metadata.key_value_metadata).toEqual([{ key: "shape", value: `[1,${wide}]` }]);
  const rows = await parquetReadObjects({ file: buffer });
  expect(rows.map(({ key, label }) => [key, label])).toEqual([
    ["a", 0],
    ["b/ü", 2],
    ["d", 2],
    ["e", 7],
  ]);
  for (const [i, { features }] of rows.entries()) {
    const same = features.every((x: number, j: number) => x === data[i * wide + j]);
    expect([features.length, same]).toEqual([wide, true]);
  }
});

test("a file that is short of rows is refused and leaves nothing behind", async () => {
  const path = join(folder, "short.npy");
  const file = await createArrayFile(path, content);
  await file.append(values.subarray(0, 6));
  await expect(file.finish()).rejects.toThrow("18 more values");
  await file.discard();
  expect((await readdir(folder)).filter((name) => name.startsWith("short"))).toEqual([]);
});

test("another ending is refused before anything is computed", async () => {
  await expect(createArrayFile(join(folder, "f.npz"), content)).rejects.toThrow(".npz");
});
