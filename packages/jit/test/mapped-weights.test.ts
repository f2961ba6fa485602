import { mkdtemp, readdir, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { compile, linear, spec } from "../src/index.ts";

const random = createRandom(0, "mapped weights");
const weight = ndarray(random.normals(128 * 256), [128, 256]);
const bias = ndarray(random.normals(128), [128]);
const x = ndarray(random.normals(2 * 256), [2, 256]);
const apply = ({ params: { weight, bias }, x }: { params: Record<string, Tensor>; x: Tensor }) =>
  linear(x, weight!, bias!);

const offset = 36; // aligned to elements, and to nothing more
let folder: string;
let path: string;
let reads = 0;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "aligntok-mapped-")));
  path = join(folder, "weights.bin");
  await writeFile(
    path,
    Buffer.concat([Buffer.alloc(offset, 255), Buffer.from(weight.data.buffer)]),
  );
});
afterAll(() => rm(folder, { recursive: true }));

async function mapped(): Promise<NdArray<"float32">> {
  const { mtimeMs: modified } = await stat(path);
  return {
    ...weight,
    get data() {
      reads++;
      return weight.data;
    },
    source: { path, offset, modified },
  };
}

it.each([false, true])("maps bound matrices without reading them (worker: %s)", async (worker) => {
  const read = await compile(apply, { x: spec([2, 256]) }, { bind: { params: { weight, bias } } });
  const expected = await read.run({ x });
  const params = { weight: await mapped(), bias };
  reads = 0;
  const inPlace = await compile(apply, { x: spec([2, 256]) }, { bind: { params }, worker });
  const { data } = await inPlace.run({ x });
  expect(Array.from(data)).toEqual(Array.from(expected.data, (v) => expect.closeTo(v, 4)));
  expect(reads).toBe(0);
  read.dispose();
  inPlace.dispose();
});

it("reads them for int8", async () => {
  const params = { weight: await mapped(), bias };
  reads = 0;
  const bind = { params };
  const int8 = await compile(apply, { x: spec([2, 256]) }, { bind, precision: "int8" });
  expect(reads).toBeGreaterThan(0);
  int8.dispose();
});

it("refuses a file that has changed since", async () => {
  const params = { weight: await mapped(), bias };
  params.weight = { ...params.weight, source: { path, offset, modified: 1 } };
  await expect(compile(apply, { x: spec([2, 256]) }, { bind: { params } })).rejects.toThrow(
    "weights.bin: expected the file that was opened, got one written since. load it again",
  );
  params.weight = { ...params.weight, source: { path: `${path}2`, offset, modified: 1 } };
  await expect(compile(apply, { x: spec([2, 256]) }, { bind: { params } })).rejects.toThrow(
    "weights.bin2: expected the file that was opened, got none",
  );
});

it("keeps no optimised graph of them in a cache, which would hold the weights", async () => {
  const cache = join(folder, "cache");
  const bind = { params: { weight: await mapped(), bias } };
  const step = await compile(apply, { x: spec([2, 256]) }, { bind, cache });
  expect(await readdir(cache)).toEqual([]);
  step.dispose();
});
