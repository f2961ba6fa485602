/**
 * Names of published autoencoders to those of `autoencoderShapes`, which are LDM's, and the configuration that their
 * shapes tell.
 *
 * Recognised by the keys alone: LDM and FLUX as they are; the same behind any prefix (Lightning's `state_dict.`, Stable
 * Diffusion's `first_stage_model.`), where what lies outside belongs to other networks; diffusers, with the attention of
 * both spellings (`to_q` as a matrix, older `query`).
 */
import { check, listSome, type NdArray, type Parameters, reshape, toFloat32 } from "@aligntok/core";
import { checkWeights } from "../expected-weights.ts";
import { type AutoencoderConfig, autoencoderShapes } from "./autoencoder.ts";

export type Tensors = Readonly<Record<string, NdArray>>;

/**
 * Training leaves these beside the networks, and nothing is encoded or decoded with them: LPIPS, discriminator and the
 * logarithm of a variance, which stays 0; VA-VAE's frozen encoder and the projection to its width.
 */
const ofTraining = /^(?:loss|foundation_model|linear_proj)\./;

/** diffusers' names, after the levels of the decoder have been counted from the other end. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/\.(down|up)_blocks\.(\d+)\.resnets\.(\d+)\./, ".$1.$2.block.$3."],
  [/\.(down|up)_blocks\.(\d+)\.attentions\.(\d+)\./, ".$1.$2.attn.$3."],
  [/\.down_blocks\.(\d+)\.downsamplers\.0\./, ".down.$1.downsample."],
  [/\.up_blocks\.(\d+)\.upsamplers\.0\./, ".up.$1.upsample."],
  [/\.mid_block\.resnets\.0\./, ".mid.block_1."],
  [/\.mid_block\.resnets\.1\./, ".mid.block_2."],
  [/\.mid_block\.attentions\.0\./, ".mid.attn_1."],
  [/\.conv_shortcut\./, ".nin_shortcut."],
  [/\.conv_norm_out\./, ".norm_out."],
  [/\.group_norm\./, ".norm."],
  [/\.(?:to_q|query)\./, ".q."],
  [/\.(?:to_k|key)\./, ".k."],
  [/\.(?:to_v|value)\./, ".v."],
  [/\.(?:to_out\.0|proj_attn)\./, ".proj_out."],
];

/** Tensors under LDM's names, and the keys that were left out. */
export interface RenamedAutoencoder {
  readonly tensors: Tensors;
  readonly ignored: readonly string[];
}

/** Whether the keys are those of such an autoencoder, whatever its size. */
export function isAutoencoder(tensors: Tensors): boolean {
  return prefixesOf(tensors).length > 0;
}

function prefixesOf(tensors: Tensors): string[] {
  return Object.keys(tensors).flatMap((key) => {
    const [, prefix] = /^(.*?)decoder\.conv_in\.weight$/.exec(key) ?? [];
    return prefix === undefined ? [] : [prefix];
  });
}

/** @throws AlignTokError `bad-input` where there is not exactly one autoencoder */
export function renameAutoencoder(tensors: Tensors): RenamedAutoencoder {
  const [prefix, ...others] = prefixesOf(tensors);
  check(
    prefix !== undefined && others.length === 0,
    () =>
      `autoencoder: expected one decoder.conv_in.weight, got ${prefix === undefined ? `none among ${listSome(Object.keys(tensors))}` : `several (${listSome([prefix, ...others].map((name) => `${name}decoder`))}). save the one that you mean alone`}`,
  );
  const own = Object.keys(tensors).filter((key) => key.startsWith(prefix));
  const levels = new Set(own.map((key) => /\.up_blocks\.(\d+)\./.exec(key)?.[1])).size - 1;
  const renamed: Record<string, NdArray> = {};
  const ignored = Object.keys(tensors).filter((key) => !key.startsWith(prefix));
  for (const key of own) {
    const name = key.slice(prefix.length);
    if (ofTraining.test(name)) ignored.push(key);
    else renamed[toLdmName(name, levels)] = tensors[key]!;
  }
  return { tensors: renamed, ignored };
}

function toLdmName(name: string, levels: number): string {
  // diffusers counts the decoder's levels in calling order, LDM from the highest resolution
  const counted = name.replace(
    /\.up_blocks\.(\d+)\./,
    (_, level) => `.up_blocks.${levels - 1 - Number(level)}.`,
  );
  return renames.reduce((text, [pattern, to]) => text.replace(pattern, to), counted);
}

/**
 * The configuration that the shapes tell, without `scale`, `shift` and `groups`, which they do not.
 *
 * @param tensors under LDM's names
 * @throws AlignTokError `bad-input` when they are not those of such an autoencoder
 */
export function readAutoencoderConfig(tensors: Tensors): AutoencoderConfig {
  const rowsOf = (key: string) => {
    const rows = tensors[key]?.shape[0];
    check(
      rows !== undefined,
      () =>
        `autoencoder: expected the tensor ${key}, got none among ${listSome(Object.keys(tensors))}. download the file again, it is not whole`,
    );
    return rows;
  };
  const channels = rowsOf("encoder.conv_in.weight");
  const latent = tensors["decoder.conv_in.weight"]?.shape[1] ?? 0;
  const pixelShuffle = Math.sqrt((tensors["encoder.conv_in.weight"]?.shape[1] ?? 3) / 3);
  const count = (pattern: RegExp) =>
    new Set(Object.keys(tensors).flatMap((key) => pattern.exec(key)?.[1] ?? [])).size;
  const levels = count(/^encoder\.down\.(\d+)\.block\./);
  check(
    levels > 0,
    "autoencoder: expected encoder.down.0.block.0, got no level of an encoder. take a file with both networks, this one may hold a decoder alone",
  );
  const multipliers = Array.from(
    { length: levels },
    (_, level) => rowsOf(`encoder.down.${level}.block.0.conv1.weight`) / channels,
  );
  const attention = [...multipliers.keys()].filter(
    (level) => `encoder.down.${level}.attn.0.q.weight` in tensors,
  );
  return {
    latent,
    channels,
    multipliers,
    blocks: count(/^encoder\.down\.0\.block\.(\d+)\./),
    ...(attention.length > 0 && { attention }),
    ...(!("quant_conv.weight" in tensors) && { quantConvs: false }),
    ...(pixelShuffle !== 1 && { pixelShuffle }),
  };
}

/**
 * The parameters of `config` in float32.
 *
 * @param tensors under LDM's names
 * @throws AlignTokError `bad-input` listing missing, unknown or wrongly shaped names, at most five of each
 */
export function adaptAutoencoder(config: AutoencoderConfig, tensors: Tensors): Parameters {
  const shapes = autoencoderShapes(config);
  const found = Object.fromEntries(
    Object.entries(tensors).map(([name, array]) => [name, fit(array, shapes[name])]),
  );
  checkWeights("autoencoder", found, shapes);
  return Object.fromEntries(Object.keys(shapes).map((name) => [name, toFloat32(found[name]!)]));
}

/** The matrices of diffusers' attention as 1x1 convolutions. */
function fit(array: NdArray, shape: readonly number[] | undefined): NdArray {
  const isMatrix = shape?.length === 4 && `${array.shape},1,1` === shape.join();
  return isMatrix ? reshape(array, shape) : array;
}
