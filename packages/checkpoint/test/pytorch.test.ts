import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AlignTokError, createRandom, type NdArray, sizeOf } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  openCheckpoint,
  type PickledObject,
  type PickleValue,
  readPyTorch,
  readSafetensors,
} from "../src/index.ts";
import { type PickleNames, unpickle } from "../src/pickle.ts";
import { findGlobal } from "../src/pytorch-names.ts";
import { flattenTree } from "../src/pytorch-tree.ts";

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pytorch-"));
});
afterAll(() => rm(folder, { recursive: true }));

const files = ["pytorch.pth", "pytorch-legacy.pth"];

/** As a Python dictionary. */
function dictionary(value: PickleValue | undefined): Map<PickleValue, PickleValue> {
  expect(value).toBeInstanceOf(Map);
  return value as Map<PickleValue, PickleValue>;
}

/** That tensors are those of a safetensors file, under names that begin otherwise. */
async function expectSame(
  tensors: Readonly<Record<string, NdArray>>,
  file: string,
  prefix = "",
): Promise<void> {
  const { tensors: expected } = await readSafetensors(fixture(file));
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    const got = tensors[prefix + name];
    expect({ dtype: got?.dtype, shape: got?.shape }, name).toEqual({ dtype, shape });
    expect(got!.data, name).toEqual(data);
  }
}

const variants = [...files, "pytorch-deflated.pth", "pytorch-big-endian.pth"];
test.each(variants)("%s: every dtype, stride and tie is as safetensors has it", async (file) => {
  const { format, tensors, metadata } = await openCheckpoint(fixture(file));
  const { tensors: expected } = await readSafetensors(fixture("pytorch.safetensors"));
  expect(format).toBe("pytorch");
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
  await expectSame(tensors, "pytorch.safetensors");
  expect(metadata).toEqual({ epoch: "7", lr: "0.001" });
  expect(tensors["model.tied"]).toBe(tensors["model.float32"]);
  // older files do not align their storages: those are read and not mapped
  const mapped = file === "pytorch.pth" ? fixture(file) : undefined;
  expect(tensors["model.float32"]!.source?.path).toBe(mapped);
  expect(tensors["model.transposed"]!.source).toBeUndefined();
});

test.each(["pytorch-data.pth", "pytorch-data-5.pth"])(
  "%s: NumPy's arrays, unsigned and 8-bit tensors, and Python's own types",
  async (file) => {
    const { tensors, metadata } = await openCheckpoint(fixture(file));
    await expectSame(tensors, "pytorch-data.safetensors");
    expect(metadata).toMatchObject({ scalar: "2.5", integer: "-3", "counter.a": "2" });
    const tree = dictionary(await readPyTorch(fixture(file)));
    expect(tree.get("parameter")).toMatchObject({ dtype: "float32", shape: [2] });
    expect(Object.fromEntries(tree)).toMatchObject({
      size: [2, 3],
      device: "cuda:1",
      dtype: { className: "torch.bfloat16" },
      counter: new Map([["a", 2]]),
      default: new Map([["k", [1]]]),
      arguments: { className: "argparse.Namespace" },
      set: new Set([3]),
      bytes: Uint8Array.of(255, 0),
      bytearray: Uint8Array.of(97, 98),
      big: 2n ** 70n,
      none: null,
      text: { className: "numpy.ndarray" },
    });
    const { state } = tree.get("arguments") as PickledObject;
    expect(dictionary(state).get("lr")).toBe(0.5);
    expect(dictionary(state).get("path")).toEqual({
      className: "pathlib.PurePosixPath",
      args: ["a", "b"],
    });
  },
);

test("wrappers of the field: Lightning with unknown objects, prefixes, a pickled module", async () => {
  const lightning = await openCheckpoint(fixture("wrapped-lightning.ckpt"));
  await expectSame(lightning.tensors, "wrapped.safetensors", "state_dict.model.");
  expect(lightning.tensors["optimizer_states.0.state.0.exp_avg"]?.shape).toEqual([3, 2]);
  expect(lightning.metadata).toMatchObject({
    epoch: "3",
    "hyper_parameters.lr": "0.1",
    "hyper_parameters.backbone": "__main__.Unknown",
    "hyper_parameters.kind": "__main__.Unknown",
  });
  const ema = await openCheckpoint(fixture("wrapped-ema.pt"));
  for (const prefix of ["model.module.", "ema._orig_mod.", "opt."]) {
    await expectSame(ema.tensors, "wrapped.safetensors", prefix);
  }
  const module = await openCheckpoint(fixture("wrapped-module.pt"));
  const { tensors: expected } = await readSafetensors(fixture("wrapped.safetensors"));
  expect(Object.keys(module.tensors).sort()).toEqual(Object.keys(expected).sort());
  await expectSame(module.tensors, "wrapped.safetensors");
});

test("TorchScript: the names and tensors of its state dict, and the rest in the tree", async () => {
  const { format, tensors, metadata } = await openCheckpoint(fixture("torchscript.pt"));
  expect(format).toBe("pytorch");
  const { tensors: expected } = await readSafetensors(fixture("torchscript.safetensors"));
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
  await expectSame(tensors, "torchscript.safetensors");
  expect(metadata.resolution).toBe("224");
  const { state } = (await readPyTorch(fixture("torchscript.pt"))) as PickledObject;
  const first = dictionary(state).get("first") as PickledObject;
  expect(dictionary(first.state).get("plain")).toMatchObject({ shape: [4] });
  const half = await openCheckpoint(fixture("torchscript-half.pt"));
  expect(half.tensors["first.weight"]!.dtype).toBe("float16");
  expect(Object.keys(half.tensors).sort()).toEqual(Object.keys(expected).sort());
  // a frozen module has constants alone, without names
  const frozen = Object.entries((await openCheckpoint(fixture("torchscript-frozen.pt"))).tensors);
  expect(frozen.map(([name]) => name)).toEqual(frozen.map((_, i) => `constants.${i}`));
  const weights = frozen.map(([, { shape }]) => shape).filter((shape) => shape.length === 2);
  expect(weights.map((shape) => [...shape].sort())).toEqual([
    [2, 3],
    [2, 2],
  ]);
});

test.each(["complex", "sparse", "quantised"])("%s tensors are refused by name", async (kind) => {
  await expect(openCheckpoint(fixture(`refused-${kind}.pth`))).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("expected dense tensors of real numbers"),
  });
});

describe("pickles that ask for more than they are", () => {
  const names: PickleNames = {
    find: (module, name) => findGlobal("bomb", { module, name, tensor: () => null }),
    load: () => null,
  };

  test("a long text, encoded again and again", () => {
    const text = "a".repeat(100_000);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    const again = "c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0".repeat(10_000);
    const bomb = Buffer.from(`X${length.toString("latin1")}${text}q\x000${again}N.`, "latin1");
    expect(() => unpickle(bomb, names, "bomb")).toThrow("expected calls of fewer elements");
  });

  test("lists in lists, each twice, and as text", () => {
    const twice = `]q\x00K\x01a0${"]h\x00ah\x00aq\x000".repeat(60)}`;
    const { value } = unpickle(Buffer.from(`${twice}h\x00.`, "latin1"), names, "bomb");
    expect(() => flattenTree(value, { path: "bomb", size: 500 })).toThrow("expected fewer names");
    const device = Buffer.from(`${twice}ctorch\ndevice\nh\x00\x85R.`, "latin1");
    expect(unpickle(device, names, "bomb").value).toBe("");
  });

  test("deep nesting", () => {
    const deep = Buffer.from(`${"]".repeat(100_000)}${"a".repeat(99_999)}.`);
    const { value } = unpickle(deep, names, "bomb");
    expect(() => flattenTree(value, { path: "bomb", size: deep.length })).toThrow("containers in");
  });
});

test("names a class that it does not know and executes nothing", async () => {
  await expect(openCheckpoint(fixture("pytorch-object.pth"))).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("__main__.Unknown, which is not executed here"),
  });
  const find = () => {
    throw new AlignTokError("unsupported", "refused");
  };
  const attack = Buffer.from("cos\nsystem\n(S'true'\ntR.");
  expect(() => unpickle(attack, { find, load: () => null }, "attack")).toThrow("refused");
});

const damageable = [...variants, "pytorch-data.pth", "torchscript.pt", "wrapped-module.pt"];
test.each(damageable)("damaged %s: errors, never crashes", async (file) => {
  const whole = await readFile(fixture(file));
  const random = createRandom(1, "damage");
  const path = join(folder, "damaged.pth");
  let refused = 0;
  for (let i = 0; i < 300; i++) {
    const bytes = Uint8Array.from(
      i % 3 === 0 ? whole.subarray(0, Math.floor(random.uniform() * whole.length)) : whole,
    );
    for (let k = 0; k < 4 && bytes.length; k++) {
      // most bytes are padding: half of the changes go to the pickle, near the beginning
      const place = random.uniform() * (k % 2 ? bytes.length : Math.min(bytes.length, 1800));
      bytes[Math.floor(place)] = Math.floor(random.uniform() * 256);
    }
    await writeFile(path, bytes);
    try {
      const { tensors } = await openCheckpoint(path);
      for (const { data, shape } of Object.values(tensors)) expect(data.length).toBe(sizeOf(shape));
    } catch (error) {
      expect(AlignTokError.isInstance(error), String(error)).toBe(true);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(100);
});

const alex = sharedData("lpips", "alex.pth");
test.skipIf(!alex)("a published file (skipped without ../shared/data)", async () => {
  const { tensors } = await openCheckpoint(alex!);
  expect(Object.keys(tensors)).toEqual([0, 1, 2, 3, 4].map((k) => `lin${k}.model.1.weight`));
  const values = Object.values(tensors).flatMap(({ data }) => Array.from(data, Number));
  expect(values[0]).toBeCloseTo(3.7879954106756486e-6, 12); // as torch.load gives it
  expect(values.reduce((sum, value) => sum + value)).toBeCloseTo(105.2753545809201, 6);
});
