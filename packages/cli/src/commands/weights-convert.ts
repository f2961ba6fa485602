import { mkdir, realpath } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import type { AutoencoderModel } from "@aligntok/aligntok/vae";
import type { FloatDType } from "@aligntok/checkpoint";
import {
  AlignTokError,
  byteLength,
  type LatentStats,
  type NdArray,
  toFloat32,
} from "@aligntok/core";
import { Command, InvalidArgumentError, Option } from "commander";
import { formatBytes } from "../progress-printer.ts";
import { openRowFile } from "../row-file.ts";
import { defineAction, type Session } from "../session.ts";
import { tokenizerModelOption } from "../tokenizer-option.ts";

interface ConvertOptions {
  readonly dtype?: FloatDType;
  readonly maxShard: number;
  readonly tokenizer?: true;
  readonly tokenizerModel?: AutoencoderModel;
  readonly stats?: string;
}

export function weightsConvertCommand(): Command {
  const command = new Command("convert")
    .summary("weights of any format that is read here, as safetensors or NumPy's")
    .description(
      "Writes weights as safetensors or NumPy's arrays, one tensor after the other, under their own names.",
    )
    .argument("<in>", "file or folder, as for inspect")
    .argument(
      "<out>",
      "NAME.safetensors, NAME.npz, NAME.npy for a single tensor, or a folder for model.safetensors or its shards",
    )
    .addOption(
      new Option("--dtype <name>", "of floating-point tensors (default: as they are)").choices([
        "float32",
        "float16",
        "bfloat16",
      ]),
    )
    .addOption(
      new Option("--max-shard <size>", "bytes of a file in a folder, such as 500MB")
        .argParser(byteCount)
        .default(5e9, "5GB"),
    )
    .option(
      "--tokenizer",
      "as a tokenizer's folder: config.json and model.safetensors, in float32 and without other networks",
    )
    .addOption(tokenizerModelOption())
    .option(
      "--stats <file>",
      "of --tokenizer: statistics of its latents, of LightningDiT's latents_stats.pt or of the latents in a file of encode",
    )
    .addHelpText(
      "after",
      `
A latents_stats.pt that lies beside the weights is taken without --stats.

Examples:
  aligntok weights convert frozen.pb inception.safetensors
  aligntok weights convert ViT-B-32.pt clip.npz --dtype float32
  aligntok weights convert model.safetensors half --dtype float16 --max-shard 2GB
  aligntok weights convert vavae-imagenet256-f16d32-dinov2.pt vavae --tokenizer
  aligntok weights convert sdxl_vae.safetensors sdxl --tokenizer --tokenizer-model sdxl-vae`,
    );
  return defineAction(command, convert);
}

async function convert(options: ConvertOptions, session: Session): Promise<void> {
  const [input = "", output = ""] = session.args;
  if (options.tokenizer) return convertTokenizer(input, output, { options, session });
  const ending = extname(output);
  if (/^\.(pth|pt|bin|ckpt|th|pb|xml)$/.test(ending)) {
    throw new AlignTokError(
      "unsupported",
      `${output}: expected a name that ends in .safetensors, .npz or .npy, or a folder, got ${ending}. choose one of them`,
    );
  }
  const { castFloats, openCheckpoint } = await import("@aligntok/checkpoint");
  const { format, tensors, metadata } = await openCheckpoint(input);
  const converted = options.dtype ? castFloats(tensors, options.dtype) : tensors;
  const files = await write(input, output, {
    tensors: converted,
    metadata,
    maxShardBytes: options.maxShard,
    session,
  });
  const changes = new Map<string, number>();
  for (const [name, array] of Object.entries(converted)) {
    const from = tensors[name]!.dtype;
    const change = from === array.dtype ? `${from} unchanged` : `${from} to ${array.dtype}`;
    changes.set(change, (changes.get(change) ?? 0) + 1);
  }
  const bytes = Object.values(converted).reduce((sum, array) => sum + byteLength(array), 0);
  session.answer(
    [
      `${output}: ${Object.keys(converted).length} tensors of ${format}, ${formatBytes(bytes)} in ${files.length} file${files.length === 1 ? "" : "s"}`,
      ...[...changes].map(([change, count]) => `  ${count} ${change}`),
    ],
    { format, files, bytes, changes: Object.fromEntries(changes) },
  );
}

async function convertTokenizer(
  input: string,
  output: string,
  { options, session }: { readonly options: ConvertOptions; readonly session: Session },
): Promise<void> {
  const { importTokenizer, inspectTokenizer } = await import("@aligntok/aligntok");
  const { tokenizerModel: model, stats: file } = options;
  await mkdir(output, { recursive: true });
  await refuseOverwriting(input, output);
  await importTokenizer(input, output, {
    ...(model && { model }),
    ...(file !== undefined && { stats: await readStats(file, session) }),
  });
  const { model: name, stride, latent, parts, stats } = await inspectTokenizer(output);
  const count = Object.values(parts).reduce((sum, weights) => sum + weights, 0);
  session.answer(
    `${output}: tokenizer ${name}, f${stride} d${latent}, ${count.toLocaleString("en-US")} weights, statistics of its latents ${stats ? "known" : "not known"}`,
    { out: output, model: name, stride, latent, parts, stats: stats !== undefined },
  );
}

/** Mean and deviation of each channel: as a file has them, or of the latents in it. */
async function readStats(path: string, { signal }: Session): Promise<LatentStats> {
  const { openCheckpoint } = await import("@aligntok/checkpoint");
  const { mean, std } = (await openCheckpoint(path)).tensors;
  if (mean && std) return { mean: toFloat32(mean).data, std: toFloat32(std).data };
  const { computeLatentAnalysis } = await import("@aligntok/eval-fid");
  const { channels } = await computeLatentAnalysis((await openRowFile(path)).batches(64), {
    signal,
  });
  return { mean: Float32Array.from(channels.mean), std: Float32Array.from(channels.std) };
}

/** Writes the kind of file that the name of the output says, and gives its path or those of its shards. */
async function write(
  input: string,
  output: string,
  content: {
    readonly tensors: Readonly<Record<string, NdArray>>;
    readonly metadata: Readonly<Record<string, string>>;
    readonly maxShardBytes: number;
    readonly session: Session;
  },
): Promise<string[]> {
  const { writeNpy, writeNpz, writeSafetensors, writeShardedSafetensors } = await import(
    "@aligntok/checkpoint"
  );
  const { tensors, metadata, maxShardBytes, session } = content;
  const { signal, onProgress } = session;
  switch (extname(output)) {
    case ".safetensors":
      // transformers asks for a format
      await writeSafetensors(output, tensors, {
        metadata: { format: "pt", ...metadata },
        signal,
        onProgress,
      });
      return [output];
    case ".npz":
      await writeNpz(output, tensors, { signal, onProgress });
      return [output];
    case ".npy": {
      const arrays = Object.values(tensors);
      if (arrays.length !== 1) {
        throw new AlignTokError(
          "bad-input",
          `${output}: expected one tensor, which is what .npy holds, got ${arrays.length}. give a name that ends in .npz`,
        );
      }
      await writeNpy(output, arrays[0]!, { signal });
      return [output];
    }
    default: {
      await mkdir(output, { recursive: true });
      await refuseOverwriting(input, output);
      const options = { metadata, maxShardBytes, signal, onProgress };
      const written = await writeShardedSafetensors(output, tensors, options);
      return written.map((file) => join(output, file));
    }
  }
}

/** Shards take their names one by one, while the tensors of others may not have been read yet. */
async function refuseOverwriting(input: string, folder: string): Promise<void> {
  const [source, target] = await Promise.all([realpath(input), realpath(folder)]);
  if (source === target || dirname(source) === target) {
    throw new AlignTokError(
      "bad-input",
      `${folder}: expected another folder than that of ${input}, got the same. choose a new one`,
    );
  }
}

/** Parser of `5GB`, `500MB`, `1000`. */
function byteCount(text: string): number {
  const [, number, unit = "B"] = /^(\d+(?:\.\d+)?)\s*([KMGT]?B)?$/i.exec(text) ?? [];
  const value = Number(number) * 1000 ** "BKMGT".indexOf(unit[0]!.toUpperCase());
  if (!(value >= 1)) throw new InvalidArgumentError("expected a size such as 5GB or 500MB.");
  return Math.floor(value);
}
