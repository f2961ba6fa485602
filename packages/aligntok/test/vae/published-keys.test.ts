import { type NdArray, type Parameters, sizeOf } from "@aligntok/core";
import { adaptCheckpoint, vitModels, vitShapes } from "@aligntok/encoders";
import { describe, expect, it } from "vitest";
import {
  adaptAutoencoder,
  isAutoencoder,
  readAutoencoderConfig,
  renameAutoencoder,
} from "../../src/vae/autoencoder-names.ts";
import {
  autoencoderModels,
  autoencoderShapes,
  tinyAutoencoderModels,
} from "../../src/vae/index.ts";
import {
  adaptTinyAutoencoder,
  isTinyAutoencoder,
  readTinyAutoencoderConfig,
  renameTinyAutoencoder,
} from "../../src/vae/taesd-names.ts";
import { publishedTensors } from "./published.ts";

const countUnder = (parameters: Parameters, prefix: string) =>
  Object.entries(parameters)
    .filter(([name]) => name.startsWith(prefix))
    .reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);

function load(tensors: Readonly<Record<string, NdArray>>) {
  expect(isAutoencoder(tensors)).toBe(true);
  expect(isTinyAutoencoder(tensors)).toBe(false);
  const { tensors: renamed, ignored } = renameAutoencoder(tensors);
  const config = readAutoencoderConfig(renamed);
  return { config, parameters: adaptAutoencoder(config, renamed), ignored };
}

/** Without what shapes do not tell. */
function shapeOf(model: keyof typeof autoencoderModels) {
  const {
    scale: _,
    shift: __,
    ...shape
  } = autoencoderModels[model] as {
    scale?: number;
    shift?: number;
  };
  return shape;
}

describe("published autoencoders load with nothing missing and nothing left over", () => {
  it("VA-VAE f16d32, as Lightning saved it beside LPIPS, discriminator and DINOv2", async () => {
    const published = await publishedTensors("va-vae");
    const moment = published["state_dict.quant_conv.bias"]!;
    const tensors = { ...published, "optimizer_states.0.state.0.exp_avg": moment };
    const { config, parameters, ignored } = load(tensors);
    expect(config).toEqual(autoencoderModels.f16d32);
    expect(countUnder(parameters, "decoder.")).toBe(41_417_603);
    expect((countUnder(parameters, "encoder.") / 1e6).toFixed(3)).toBe("28.413");
    expect(Object.keys(parameters).length + ignored.length).toBe(Object.keys(tensors).length);
    const left = (prefix: string) => ignored.filter((key) => key.startsWith(prefix)).length;
    expect(left("state_dict.foundation_model.model.")).toBe(342); // DINOv2-L
    expect(left("state_dict.loss.discriminator.")).toBe(22);
    expect(left("state_dict.loss.perceptual_loss.")).toBe(33);
    const others = ["state_dict.loss.logvar", "state_dict.linear_proj.weight"];
    for (const key of [...others, "optimizer_states.0.state.0.exp_avg"]) {
      expect(ignored).toContain(key);
    }
    expect(ignored).toHaveLength(342 + 22 + 33 + 3);
  });

  it.each(["sd-vae", "sd-vae-diffusers"])("SD-VAE f8d4: %s", async (name) => {
    const { config, parameters, ignored } = load(await publishedTensors(name));
    expect(config).toEqual(shapeOf("sd-vae"));
    expect(countUnder(parameters, "decoder.")).toBe(49_490_179);
    expect(countUnder(parameters, "encoder.") + countUnder(parameters, "quant_conv.")).toBe(
      34_163_592 + 72,
    );
    expect(ignored).toEqual([]);
  });

  it("FLUX's", async () => {
    const { config, parameters, ignored } = load(await publishedTensors("flux-ae"));
    expect(config).toEqual(shapeOf("flux-ae"));
    expect((countUnder(parameters, "decoder.") / 1e6).toFixed(2)).toBe("49.55");
    expect((countUnder(parameters, "encoder.") / 1e6).toFixed(2)).toBe("34.27");
    expect(ignored).toEqual([]);
  });

  it("TAESD, in one file", async () => {
    const tensors = await publishedTensors("taesd");
    expect(isTinyAutoencoder(tensors)).toBe(true);
    const renamed = renameTinyAutoencoder(tensors);
    const config = readTinyAutoencoderConfig(renamed);
    expect(config).toEqual(tinyAutoencoderModels.taesd);
    const parameters = adaptTinyAutoencoder(config, renamed);
    expect(countUnder(parameters, "encoder.")).toBe(1_222_532);
    expect(countUnder(parameters, "decoder.")).toBe(1_222_531);
  });

  it("DINOv2-L", async () => {
    const config = { ...vitModels.dinov2_vitl14, classes: 0 };
    const parameters = adaptCheckpoint(config, await publishedTensors("dinov2-large"));
    expect(Object.keys(parameters)).toEqual(Object.keys(vitShapes(config)));
    expect((countUnder(parameters, "") / 1e6).toFixed(2)).toBe("304.37");
  });
});

describe("what is no such autoencoder", () => {
  it("is refused with its keys", async () => {
    const tensors = await publishedTensors("flux-ae");
    const { "encoder.mid.block_1.conv1.bias": bias, ...rest } = tensors;
    expect(() => load(rest)).toThrow(/1 missing: encoder\.mid\.block_1\.conv1\.bias/);
    expect(() => load({ ...tensors, "decoder.extra.weight": bias! })).toThrow(
      /1 unknown: decoder\.extra\.weight/,
    );
    expect(() => load({ ...tensors, "encoder.norm_out.bias": { ...bias!, shape: [7] } })).toThrow(
      /1 of another shape: encoder\.norm_out\.bias \[7\] instead of \[512\]/,
    );
    const { "encoder.conv_in.weight": _, ...headless } = tensors;
    expect(() => load(headless)).toThrow(/expected the tensor encoder\.conv_in\.weight/);
    const twice = Object.entries(tensors).map(([key, array]) => [`ema.${key}`, array]);
    expect(() => load({ ...tensors, ...Object.fromEntries(twice) })).toThrow(
      /got several \(decoder, ema\.decoder\)/,
    );
    expect(isAutoencoder({ "conv1.weight": bias! })).toBe(false);
  });

  it("has groups that divide its channels", () => {
    expect(() => autoencoderShapes({ ...autoencoderModels.f16d32, channels: 100 })).toThrow(
      /channels: expected multiples of 32 groups, got 100/,
    );
  });
});
