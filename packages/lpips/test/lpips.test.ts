import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadParameters, writeSafetensors } from "@aligntok/checkpoint";
import { type NdArray, ndarray, type Parameters } from "@aligntok/core";
import { decodeImage } from "@aligntok/image";
import { valueAndGrad } from "@aligntok/jit";
import { sharedData } from "@aligntok/testing";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyLpips,
  checkLpipsParameters,
  createLpips,
  loadLpips,
  lpipsKeys,
} from "../src/index.ts";
import "@tensorflow/tfjs-backend-cpu";

await tf.setBackend("cpu");

const toTensor = ({ data, shape }: NdArray<"float32">) => tf.tensor(data, [...shape], "float32");
const readGolden = (network: string) =>
  loadParameters(fileURLToPath(new URL(`./fixtures/${network}.safetensors`, import.meta.url)));
const toTensors = (params: Parameters, names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, toTensor(params[name]!)]));

/** Largest difference over the largest magnitude. */
function relativeError(actual: tf.Tensor, { data }: NdArray<"float32">): number {
  const values = actual.dataSync();
  const largest = (array: ArrayLike<number>) => Math.max(...Array.from(array, Math.abs));
  expect(values.length).toBe(data.length);
  return largest(data.map((x, i) => x - values[i]!)) / largest(data);
}

describe.each(["vgg", "alex", "squeeze"] as const)("lpips %s", (network) => {
  it("equals PyTorch in value and gradient, at a size that pools unevenly", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    const x = toTensor(golden.x!);
    const distances = applyLpips({ network }, params, x, toTensor(golden.y!));
    expect(distances.shape).toEqual(golden.distance!.shape);
    expect(relativeError(distances, golden.distance!)).toBeLessThan(1e-5);
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, x, y)),
      toTensor(golden.y!),
    );
    expect(relativeError(gradients, golden.gradient!)).toBeLessThan(1e-5);
  });

  it("is zero between equal images, also for their gradient", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    const x = toTensor(golden.x!);
    expect(tf.max(applyLpips({ network }, params, x, x)).dataSync()[0]).toBe(0);
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, x, y)),
      x,
    );
    expect(tf.max(tf.abs(gradients)).dataSync()[0]).toBe(0);
  });

  it("has a finite gradient where every channel is dead", async () => {
    const golden = await readGolden(network);
    const params = toTensors(golden, lpipsKeys({ network }));
    for (const name of Object.keys(params)) {
      if (name.endsWith(".bias")) params[name] = tf.fill(params[name]!.shape, -1e3);
    }
    const { gradients } = valueAndGrad(
      (y: tf.Tensor) => tf.sum(applyLpips({ network }, params, toTensor(golden.x!), y)),
      toTensor(golden.y!),
    );
    expect(gradients.dataSync().every(Number.isFinite)).toBe(true);
  });

  it("names weights that are missing and heads that belong to another network", async () => {
    const { "features.0.weight": _, ...incomplete } = await readGolden(network);
    expect(() => checkLpipsParameters({ network }, incomplete)).toThrow(
      /without features\.0\.weight/,
    );
    const golden = await readGolden(network);
    const strange = { ...golden, "lin1.model.1.weight": golden["lin0.model.1.weight"]! };
    expect(() => checkLpipsParameters({ network }, strange)).toThrow(/head lin1: expected shape/);
  });
});

describe("files", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lpips-files-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Where the Python package cuts each network: the first layer of every slice. */
  const slices = {
    vgg: [0, 4, 9, 16, 23],
    alex: [0, 2, 5, 8, 10],
    squeeze: [0, 2, 5, 8, 10, 11, 12],
  };

  it.each(["vgg", "alex", "squeeze"] as const)(
    "%s: one with all of the Python package's",
    async (network) => {
      const golden = await readGolden(network);
      const combined: Record<string, Parameters[string]> = {
        "scaling_layer.shift": ndarray(Float32Array.of(-0.03, -0.088, -0.188), [1, 3, 1, 1]),
      };
      for (const key of lpipsKeys({ network })) {
        const layer = Number(/^features\.(\d+)/.exec(key)?.[1]);
        const slice = slices[network].filter((first) => first <= layer).length;
        combined[key.replace(/^features/, `net.slice${slice}`)] = golden[key]!;
        if (key.startsWith("lin")) combined[key.replace(/^lin(\d)/, "lins.$1")] = golden[key]!;
      }
      const file = join(folder, `${network}.safetensors`);
      await writeSafetensors(file, combined);
      const { parameters } = await loadLpips(file, { network });
      expect(parameters).toEqual(
        Object.fromEntries(lpipsKeys({ network }).map((key) => [key, golden[key]])),
      );
      await expect(
        loadLpips(file, { network: network === "vgg" ? "alex" : "vgg" }),
      ).rejects.toThrow(/without|expected shape/);
    },
  );
});

/**
 * SqueezeNet 1.1 as its authors published it, which takes bytes in the order blue, green, red less their means: the first
 * convolution is turned to what LPIPS feeds. Tensors of the file are weight and bias by turns, in calling order.
 */
async function readSqueezeNet(path: string): Promise<Parameters> {
  const [, ...arrays] = Object.values(await loadParameters(path)); // without the means
  const names = lpipsKeys({ network: "squeeze" }).filter((key) => key.startsWith("features."));
  const params = Object.fromEntries(
    names.map((name, i) => {
      const { data, shape } = arrays[i]!;
      return [name, ndarray(data, name.endsWith(".bias") ? [data.length] : shape)];
    }),
  );
  const first = params["features.0.weight"]!; // (64, 3, 3, 3)
  const turned = first.data.map((_, i) => {
    const channel = Math.floor(i / 9) % 3;
    return first.data[i + (2 - 2 * channel) * 9]! * 255 * [0.229, 0.224, 0.225][channel]!;
  });
  return { ...params, "features.0.weight": { ...first, data: turned } };
}

describe("published weights", () => {
  const [network, heads, ...pairs] = [
    sharedData("squeezenet1.1", "squeezenet1.1.xml"),
    ...["squeeze.pth", "ex_ref.png", "ex_p0.png", "ex_p1.png"].map((name) =>
      sharedData("lpips", name),
    ),
  ];

  it.skipIf(!network || !heads)(
    "SqueezeNet orders upstream's example as published, p1 before p0 (skipped without ../shared/data)",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "lpips-squeeze-"));
      const networkFile = join(folder, "squeezenet.safetensors");
      await writeSafetensors(networkFile, await readSqueezeNet(network!));
      const lpips = createLpips(await loadLpips([networkFile, heads!], { network: "squeeze" }));
      await rm(folder, { recursive: true });
      const [reference, p0, p1] = await Promise.all(
        pairs.map(async (path) => {
          const { data, shape } = await decodeImage(await readFile(path!));
          return { dtype: "uint8", data, shape: [1, ...shape] } as NdArray<"uint8">;
        }),
      );
      const [first] = await lpips.distance(reference!, p0!);
      const [second] = await lpips.distance(reference!, p1!);
      lpips.dispose();
      expect(second).toBeLessThan(0.6 * first!);
    },
  );
});

describe("compiled", () => {
  it("gives the same distances of images, bytes or floats, from files", async () => {
    const golden = await readGolden("vgg");
    const folder = await mkdtemp(join(tmpdir(), "lpips-"));
    const [networkFile, headsFile] = ["network", "heads"].map((n) =>
      join(folder, `${n}.safetensors`),
    );
    const pick = (prefix: string) =>
      Object.fromEntries(Object.entries(golden).filter(([name]) => name.startsWith(prefix)));
    await writeSafetensors(networkFile!, { ...pick("features."), "classifier.0.bias": golden.x! });
    await writeSafetensors(headsFile!, pick("lin"));
    const weights = await loadLpips([networkFile!, headsFile!]);
    expect(Object.keys(weights.parameters).sort()).toEqual(lpipsKeys({ network: "vgg" }).sort());

    const lpips = createLpips(weights);
    const toPixels = ({ data, shape }: NdArray<"float32">): NdArray<"float32"> => {
      const [n, , h, w] = shape as [number, number, number, number];
      const turned = tf.transpose(tf.tensor(data, [n, 3, h, w]), [0, 2, 3, 1]);
      return { dtype: "float32", shape: [n, h, w, 3], data: turned.dataSync() as Float32Array };
    };
    const [x, y] = [toPixels(golden.x!), toPixels(golden.y!)];
    const distances = await lpips.distance(x, y);
    expect(relativeError(tf.tensor(distances), golden.distance!)).toBeLessThan(1e-5);

    const bytes = (image: NdArray<"float32">): NdArray<"uint8"> => ({
      dtype: "uint8",
      shape: image.shape,
      data: Uint8Array.from(image.data, (value) => Math.round((value + 1) * 127.5)),
    });
    const rounded = await lpips.distance(bytes(x), bytes(y));
    expect(relativeError(tf.tensor(rounded), golden.distance!)).toBeLessThan(0.02);
    await expect(lpips.distance(x, bytes({ ...y, shape: [1, 42, 27, 3] }))).rejects.toThrow(
      /of one shape/,
    );
    lpips.dispose();
    await rm(folder, { recursive: true });
  });
});
