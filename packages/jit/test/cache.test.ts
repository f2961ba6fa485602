import { randomUUID } from "node:crypto";
import {
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, ndarray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  compile,
  conv2d,
  gelu,
  layerNorm,
  linear,
  silu,
  spec,
  valueAndGrad,
} from "../src/index.ts";
import { createCached } from "../src/run/onnx-cache.ts";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "aligntok-cache-"));
});
afterEach(() => rm(cache, { recursive: true, force: true }));

const random = createRandom(0, "cache");
const normals = (...shape: number[]) =>
  ndarray(random.normals(shape.reduce((a, b) => a * b)), shape);
const data = { w: normals(4, 3, 3, 3), v: normals(8, 6), x: normals(2, 3, 6, 6) };

/** The value and gradients of a small network with what the optimiser fuses and lays out anew. */
async function compute(options: { cache?: string; worker?: boolean }) {
  const step = await compile(
    ({ w, v, x }: { w: Tensor; v: Tensor; x: Tensor }) =>
      valueAndGrad(
        (p: { w: Tensor; v: Tensor }) => {
          const maps = tf.relu(conv2d(x, p.w, { padding: 1 })); // (2, 4, 6, 6)
          return tf.mean(
            tf.square(gelu(linear(layerNorm(maps, undefined, undefined, 1e-5), p.v))),
          ) as Tensor;
        },
        { w, v },
      ),
    { w: spec([4, 3, 3, 3]), v: spec([8, 6]), x: spec([2, 3, 6, 6]) },
    options,
  );
  const result = await step.run(data);
  step.dispose();
  return result;
}

/** Its one entry: a file that was not written again keeps its inode. */
async function entry() {
  const names = await readdir(cache);
  expect(names).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.onnx$/)]);
  const path = join(cache, names[0]!);
  return { path, file: (await stat(path)).ino, bytes: await readFile(path) };
}

describe.each([{}, { worker: true }])("%o", (options) => {
  it("gives the same bits from the folder as without it", async () => {
    const expected = await compute(options);
    expect(await compute({ ...options, cache })).toEqual(expected);
    const { file } = await entry();
    expect(await compute({ ...options, cache })).toEqual(expected);
    expect((await entry()).file).toBe(file);
  });
});

it.each([
  ["cut short", (path: string) => truncate(path, 100)],
  ["empty", (path: string) => truncate(path, 0)],
  ["foreign", (path: string) => writeFile(path, "something else entirely, of another program")],
])("makes an entry again that is %s", async (_, damage) => {
  const expected = await compute({ cache });
  const { path, bytes } = await entry();
  await damage(path);
  expect(await compute({ cache })).toEqual(expected);
  expect((await entry()).bytes).toEqual(bytes);
});

it("makes an entry again of which one byte has changed", async () => {
  const expected = await compute({ cache });
  const { path, bytes } = await entry();
  const changed = Buffer.from(bytes);
  changed[changed.length >> 1]! ^= 1;
  await writeFile(path, changed);
  expect(await compute({ cache })).toEqual(expected);
  expect((await entry()).bytes).toEqual(bytes);
});

it("keeps an entry for each graph and number of threads", async () => {
  const x = ndarray(Float32Array.of(1), [1]);
  const negate = (value: Tensor) => tf.neg(value);
  const double = (value: Tensor) => tf.add(value, value);
  for (const [fn, threads, result] of [
    [negate, 1, -1],
    [negate, 2, -1],
    [double, 1, 2],
    [double, 1, 2],
  ] as const) {
    const step = await compile(fn, spec([1]), { cache, threads });
    expect((await step.run(x)).data[0]).toBe(result);
    step.dispose();
  }
  expect(await readdir(cache)).toHaveLength(3);
});

it("drops what was used least recently, and only its own", async () => {
  const other = join(cache, "notes.onnx");
  await writeFile(other, "");
  await truncate(other, 300 * 2 ** 20); // sparse
  const old = join(cache, `${"0".repeat(64)}.onnx`);
  await writeFile(old, "");
  await truncate(old, 256 * 2 ** 20);
  await utimes(old, 1, 1);
  await compute({ cache });
  const names = await readdir(cache);
  expect(names).toHaveLength(2);
  expect(names).toContain("notes.onnx");
  expect(names).not.toContain("0".repeat(64));
});

/** Compiles a graph of `given` bytes, which a stand-in for ONNX Runtime optimises to `made` bytes. */
async function load(given: number, made: number, channelBlock = 16) {
  const written: string[] = [];
  await createCached(
    async (_, { optimizedModelFilePath: path }) => {
      if (path) {
        written.push(path);
        await writeFile(path, "");
        await truncate(path, made); // sparse
      }
      return {} as never;
    },
    new Uint8Array(given),
    {},
    { folder: cache, version: "1", channelBlock },
  );
  return written;
}
const MB = 2 ** 20;

it("does not keep what takes more than a quarter of the room, nor drops anything for it", async () => {
  await load(1, 1);
  const old = join(cache, `${"0".repeat(64)}.onnx`);
  await writeFile(old, "");
  await truncate(old, 250 * MB); // sparse
  await utimes(old, 1, 1);
  const before = await readdir(cache);
  expect(before).toHaveLength(2);
  expect(await load(2, 65 * MB)).toHaveLength(1);
  expect(await readdir(cache)).toEqual(before);
  expect(await load(65 * MB, 65 * MB)).toEqual([]); // weights within: not even written
  expect(await readdir(cache)).toEqual(before);
  await load(3, 30 * MB);
  expect(await readdir(cache)).toHaveLength(2);
  expect(await readdir(cache)).not.toContain("0".repeat(64));
});

it("removes drafts of processes that were killed, not those under way", async () => {
  const [left, fresh] = [randomUUID(), randomUUID()].map((name) => `${name}.tmp`);
  for (const name of [left!, fresh!, "notes.tmp"]) await writeFile(join(cache, name), "");
  for (const name of [left!, "notes.tmp"]) {
    const hoursAgo = new Date(Date.now() - 2 * 3600e3);
    await utimes(join(cache, name), hoursAgo, hoursAgo);
  }
  await load(1, 1);
  const names = await readdir(cache);
  expect(names).toHaveLength(3);
  expect(names).toEqual(expect.arrayContaining([fresh, "notes.tmp"]));
});

it("keeps an entry for each kind of processor", async () => {
  expect(await load(1, 1, 16)).toHaveLength(1);
  expect(await load(1, 1, 16)).toHaveLength(0);
  expect(await load(1, 1, 8)).toHaveLength(1);
  expect(await readdir(cache)).toHaveLength(2);
});

it("names a folder that cannot be written, and graphs that are refused", async () => {
  const file = join(cache, "file");
  await writeFile(file, "");
  const compiled = compile((x: Tensor) => x, spec([1]), { cache: join(file, "within") });
  await expect(compiled).rejects.toMatchObject({
    code: "io",
    message: expect.stringMatching(/^cache: expected a folder that can be written, got .*within/),
  });
  const integers = compile((x: Tensor) => silu(tf.cast(x, "int32")), spec([2]), { cache });
  await expect(integers).rejects.toMatchObject({ code: "unsupported" });
  expect(await readdir(cache)).toEqual(["file"]);
});
