/**
 * Names of published tiny autoencoders to those of `tinyAutoencoderShapes`, which are upstream's.
 *
 * Recognised by the keys alone: upstream's pair of files, each with the bare numbers of its layers; both in one; and
 * diffusers, whose decoder does not count the clamp that it begins with.
 */
import { check, listSome, type NdArray, type Parameters, toFloat32 } from "@aligntok/core";
import { checkWeights } from "../expected-weights.ts";
import { type TinyAutoencoderConfig, tinyAutoencoderShapes } from "./taesd.ts";

type Tensors = Readonly<Record<string, NdArray>>;

const layerName = /^(?:(encoder|decoder)\.(layers\.)?)?(\d+)\.(.*)$/;

/** Whether the keys are those of a tiny autoencoder or of one half of it. */
export function isTinyAutoencoder(tensors: Tensors): boolean {
  const names = Object.keys(tensors);
  return (
    names.every((name) => layerName.test(name)) &&
    names.some((name) => /(?:^|\.)\d+\.conv\.4\.weight$/.test(name))
  );
}

/** The half that a file with bare numbers holds; undefined for a whole one. */
export function halfOf(tensors: Tensors): "encoder" | "decoder" | undefined {
  if (!Object.keys(tensors).every((name) => /^\d/.test(name))) return undefined;
  return tensors["0.weight"]?.shape[1] === 3 ? "encoder" : "decoder";
}

/** Tensors of a half, or of a whole, under upstream's names. */
export function renameTinyAutoencoder(tensors: Tensors): Record<string, NdArray> {
  const half = halfOf(tensors);
  return Object.fromEntries(
    Object.entries(tensors).map(([name, array]) => {
      const [, part = half, layers, index, leaf] = layerName.exec(name) ?? [];
      const offset = layers && part === "decoder" ? 1 : 0;
      return [`${part}.${Number(index) + offset}.${leaf}`, array];
    }),
  );
}

/**
 * The configuration that the shapes tell.
 *
 * @param tensors under upstream's names
 */
export function readTinyAutoencoderConfig(tensors: Tensors): TinyAutoencoderConfig {
  const [channels = 0, latent = 0] = tensors["decoder.1.weight"]?.shape ?? [];
  check(
    channels > 0 && latent > 0,
    () =>
      `tiny autoencoder: expected the tensor decoder.1.weight, got none among ${listSome(Object.keys(tensors))}. download the file again, it is not whole`,
  );
  const pooled = Object.keys(tensors).some((name) => name.includes(".pool."));
  return { latent, ...(channels !== 64 && { channels }), ...(pooled && { pooled }) };
}

/**
 * The parameters of `config` in float32.
 *
 * @param tensors under upstream's names
 * @throws AlignTokError `bad-input` listing missing, unknown or wrongly shaped names, at most five of each
 */
export function adaptTinyAutoencoder(config: TinyAutoencoderConfig, tensors: Tensors): Parameters {
  const shapes = tinyAutoencoderShapes(config);
  checkWeights("tiny autoencoder", tensors, shapes);
  return Object.fromEntries(Object.keys(shapes).map((name) => [name, toFloat32(tensors[name]!)]));
}
