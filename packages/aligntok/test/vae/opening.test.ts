import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, type Images, type NdArray, ndarray } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import {
  importTokenizer,
  inspectTokenizer,
  openTokenizer,
  saveTokenizer,
} from "../../src/index.ts";
import {
  type AutoencoderConfig,
  createAutoencoder,
  initAutoencoder,
  openAutoencoder,
  saveAutoencoder,
} from "../../src/vae/index.ts";
import { tokenizer as aligned, parts, readGolden, relativeError, under } from "../golden.ts";

const taef2 = sharedData("taef2");
const expectedFile = sharedData("fixtures", "expected_values.json");
if (!taef2) console.warn("skipped: the weights of TAEF2 (../shared/data) are absent");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "autoencoders-"));
});
afterAll(() => rm(folder, { recursive: true }));

const config: AutoencoderConfig = {
  ...{ latent: 4, channels: 32, multipliers: [1, 2], blocks: 1, attention: [1] },
};
const parameters = initAutoencoder(config, createRandom(0, "weights"));

const random = createRandom(0, "images");
const images = imagesOf([2, 8, 8, 3], () => random.integer(256));

function imagesOf(shape: readonly number[], pixel: (index: number) => number): Images {
  const length = shape.reduce((product, n) => product * n, 1);
  return ndarray(
    Uint8Array.from({ length }, (_, i) => pixel(i)),
    shape,
    "uint8",
  );
}

/** A folder of its own, with these files. */
async function folderWith(name: string, files: Readonly<Record<string, object>>): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  for (const [file, content] of Object.entries(files)) {
    if (file.endsWith(".json")) await writeFile(join(path, file), JSON.stringify(content));
    else await writeSafetensors(join(path, file), content as Record<string, NdArray>);
  }
  return path;
}

const prefixed = (prefix: string, tensors: Readonly<Record<string, NdArray>>) =>
  Object.fromEntries(Object.entries(tensors).map(([key, array]) => [prefix + key, array]));

/** What `openTokenizer` makes of the path gives the latents that the weights give. */
async function expectSameLatents(path: string, ignored: readonly string[] = []): Promise<void> {
  const direct = createAutoencoder({ config, parameters });
  const opened = await openTokenizer(path);
  expect(opened.ignored).toEqual(ignored);
  expect(opened.imageSize).toBe(256);
  expect(await opened.encode(images)).toEqual(await direct.encode(images));
  direct.dispose();
  opened.dispose();
}

describe("openTokenizer", () => {
  test("opens LDM's names, alone and among those of other networks", async () => {
    const path = await folderWith("ldm", {
      "plain.safetensors": parameters,
      "whole.safetensors": {
        ...prefixed("first_stage_model.", parameters),
        "model.diffusion_model.out.weight": ndarray(Float32Array.of(1), [1]),
      },
      "lightning.safetensors": {
        ...prefixed("state_dict.", parameters),
        "state_dict.loss.logvar": ndarray(Float32Array.of(0), []),
      },
    });
    await expectSameLatents(join(path, "plain.safetensors"));
    await expectSameLatents(join(path, "whole.safetensors"), ["model.diffusion_model.out.weight"]);
    await expectSameLatents(join(path, "lightning.safetensors"), ["state_dict.loss.logvar"]);
  });

  test("opens what saveAutoencoder wrote, statistics included", async () => {
    const path = join(folder, "saved");
    const stats = { mean: Float32Array.of(1, 2, 3, 4), std: Float32Array.of(5, 6, 7, 8) };
    await saveAutoencoder(path, { config, parameters, stats });
    await expectSameLatents(path);
    expect((await openTokenizer(path)).stats).toEqual(stats);
    const scaled = { ...config, groups: 16, scale: 0.5, shift: 0.25 };
    await saveAutoencoder(path, { config: scaled, parameters });
    expect(await openAutoencoder(path)).toMatchObject({ config: scaled });
  });

  test("takes LightningDiT's statistics from beside the weights, and refuses those of others", async () => {
    const statistics = (...values: number[]) => ({
      mean: ndarray(Float32Array.from(values), [1, values.length, 1, 1]),
      std: ndarray(
        Float32Array.from(values, (x) => x + 1),
        [1, values.length, 1, 1],
      ),
    });
    const path = await folderWith("beside", {
      "vavae.safetensors": prefixed("state_dict.", parameters),
      "latents_stats.safetensors": statistics(1, 2, 3, 4),
    });
    const stats = { mean: Float32Array.of(1, 2, 3, 4), std: Float32Array.of(2, 3, 4, 5) };
    await expectSameLatents(path);
    expect((await openTokenizer(join(path, "vavae.safetensors"))).stats).toEqual(stats);
    const imported = join(folder, "imported");
    await importTokenizer(path, imported);
    await expectSameLatents(imported);
    expect(await inspectTokenizer(imported)).toMatchObject({ latent: config.latent, stats });

    await writeSafetensors(join(path, "latents_stats.safetensors"), statistics(1, 2));
    await expect(openTokenizer(path)).rejects.toThrow(/expected mean and std of 4 channels/);
  });

  test("takes scale, shift and groups from the config.json of diffusers", async () => {
    const weights = under(await readGolden("vae/diffusers"), "weights/");
    const json = {
      ...{ _class_name: "AutoencoderKL", norm_num_groups: 2 },
      ...{ scaling_factor: 0.25, shift_factor: 0.5 },
    };
    const path = await folderWith("diffusers", {
      "config.json": json,
      "diffusion_pytorch_model.safetensors": weights,
    });
    const opened = await openAutoencoder(path);
    expect(opened.config).toMatchObject({ groups: 2, scale: 0.25, shift: 0.5, latent: 3 });
    expect(opened.stats?.std[0]).toBe(4);
    expect(opened.latentShape(8, 8)).toEqual([2, 2, 3]);

    await writeFile(join(path, "config.json"), JSON.stringify({ ...json, norm_num_groups: 3 }));
    await expect(openAutoencoder(path)).rejects.toThrow(/expected multiples of 3 groups/);
    const other = { ...json, _class_name: "AutoencoderDC" };
    await writeFile(join(path, "config.json"), JSON.stringify(other));
    await expect(openAutoencoder(path)).rejects.toMatchObject({ code: "unsupported" });
  });

  test("opens the tiny autoencoder of diffusers, whose decoder does not count its clamp", async () => {
    const golden = under(await readGolden("vae/tiny"), "weights/");
    const renamed = Object.entries(golden).map(([key, array]) => {
      const [, part = "", index = "", leaf = ""] = /^(\w+)\.(\d+)\.(.*)$/.exec(key) ?? [];
      return [`${part}.layers.${Number(index) - (part === "decoder" ? 1 : 0)}.${leaf}`, array];
    });
    const path = await folderWith("tiny", {
      "config.json": { _class_name: "AutoencoderTiny" },
      "diffusion_pytorch_model.safetensors": Object.fromEntries(renamed),
    });
    const opened = await openAutoencoder(path);
    expect(opened.parameters).toEqual(golden);
    expect(opened.model).toBe("tiny autoencoder");
    await importTokenizer(path, join(folder, "tiny-imported"));
    expect((await openAutoencoder(join(folder, "tiny-imported"))).parameters).toEqual(golden);
  });

  test("opens AlignTok's own folders", async () => {
    const weights = await readGolden("weights");
    const names = ["encoder", "adapter", "post_quant_conv", "decoder"];
    const path = join(folder, "aligned");
    await saveTokenizer(path, { config: aligned, parameters: parts(weights, names) });
    const opened = await openTokenizer(path);
    expect(opened).toMatchObject({ model: "aligntok", imageSize: 16, ignored: [] });
    expect(opened.latentShape(16, 16)).toEqual([4, 4, 4]);
    const { parts: counts, stride } = await inspectTokenizer(path);
    expect(stride).toBe(4);
    expect(Object.keys(counts).sort()).toEqual([...names].sort());
    const adapter = Object.values(parts(weights, ["adapter"]));
    expect(counts.adapter).toBe(adapter.reduce((sum, { data }) => sum + data.length, 0));
  });

  test("says what it cannot open", async () => {
    const path = await folderWith("others", {
      "resnet.safetensors": { "conv1.weight": ndarray(Float32Array.of(1), [1]) },
      "half_encoder.safetensors": under(await readGolden("vae/tiny"), "weights/encoder."),
      "half.safetensors": under(await readGolden("vae/tiny"), "weights/encoder."),
      "plain.safetensors": parameters,
    });
    await expect(openTokenizer(join(path, "absent"))).rejects.toMatchObject({ code: "not-found" });
    await expect(openTokenizer(join(path, "resnet.safetensors"))).rejects.toThrow(
      /expected the keys of .* got conv1\.weight/,
    );
    await expect(openTokenizer(join(path, "half_encoder.safetensors"))).rejects.toMatchObject({
      code: "not-found",
    });
    await expect(openTokenizer(join(path, "half.safetensors"))).rejects.toThrow(
      /expected a file called \*encoder\*/,
    );
    await expect(
      openTokenizer(join(path, "plain.safetensors"), { model: "sdxl-vae" }),
    ).rejects.toThrow(/model: expected none for a file of these shapes, got sdxl-vae/);
  });
});

describe.skipIf(!taef2 || !expectedFile)("the real TAEF2", () => {
  test("gives the latents and the image of an independent NumPy run", async () => {
    const { default: expected } = await import(expectedFile!, { with: { type: "json" } });
    const values = expected.taef2 as Record<string, number[]> & Record<string, number>;
    const opened = await openTokenizer(taef2!);
    expect(opened.model).toBe("taef2");
    const side = 64;
    const image = imagesOf([1, side, side, 3], (i) => {
      const [c, x, y] = [i % 3, Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
      return (37 * y + 91 * x + 13 * c) % 256;
    });
    const latents = await opened.encode(image);
    expect(latents.shape).toEqual([1, 8, 8, 32]);
    const first = ndarray(Float32Array.from(values["z[:8,0,0]"]!), [8]);
    expect(relativeError(latents.data.slice(0, 8), first)).toBeLessThan(1e-4);
    const mean = latents.data.reduce((sum, z) => sum + z, 0) / latents.data.length;
    const square = latents.data.reduce((sum, z) => sum + (z - mean) ** 2, 0);
    expect(mean).toBeCloseTo(values.z_mean as number, 5);
    expect(Math.sqrt(square / latents.data.length)).toBeCloseTo(values.z_std as number, 5);
    const { data } = await opened.decode(latents);
    const row = values["dec[0,32,:8]"]!;
    for (const [x, value] of row.entries()) {
      const clipped = Math.min(1, Math.max(0, value));
      expect(Math.abs(data[(32 * side + x) * 3]! / 255 - clipped)).toBeLessThan(0.503 / 255);
    }
    opened.dispose();
  });

  it("opens by either of its files, wherever they lie together", async () => {
    const path = join(folder, "pair");
    await mkdir(path);
    for (const half of ["encoder", "decoder"]) {
      await copyFile(join(taef2!, `taef2_${half}.pth`), join(path, `mine-${half}-v1.pth`));
    }
    for (const half of ["encoder", "decoder"]) {
      const opened = await openTokenizer(join(path, `mine-${half}-v1.pth`));
      expect(opened.model).toBe("taef2");
    }
  });
});
