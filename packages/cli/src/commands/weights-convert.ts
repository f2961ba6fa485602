import { mkdir, realpath } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import type { FloatDType } from "@aligntok/checkpoint";
import { AlignTokError, byteLength } from "@aligntok/core";
import { Command, InvalidArgumentError, Option } from "commander";
import { formatBytes } from "../progress-printer.ts";
import { defineAction, type Session } from "../session.ts";

interface ConvertOptions {
  readonly dtype?: FloatDType;
  readonly maxShard: number;
}

export function weightsConvertCommand(): Command {
  const command = new Command("convert")
    .summary("weights of any format that is read here, as safetensors")
    .description(
      "Writes weights as safetensors, one tensor after the other, under their own names.",
    )
    .argument("<in>", "file or folder, as for inspect")
    .argument("<out>", "NAME.safetensors, or a folder for model.safetensors or its shards")
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
    .addHelpText(
      "after",
      `
Examples:
  aligntok weights convert frozen.pb inception.safetensors
  aligntok weights convert model.safetensors half --dtype float16 --max-shard 2GB`,
    );
  return defineAction(command, convert);
}

async function convert(options: ConvertOptions, { args, answer }: Session): Promise<void> {
  const [input = "", output = ""] = args;
  const ending = extname(output);
  if (/^\.(npz|npy|pth|pt|bin|ckpt|th)$/.test(ending)) {
    throw new AlignTokError(
      "unsupported",
      `${output}: expected a name that ends in .safetensors, or a folder, got ${ending}. choose one of them`,
    );
  }
  const { castFloats, openCheckpoint, writeSafetensors, writeShardedSafetensors } = await import(
    "@aligntok/checkpoint"
  );
  const { format, tensors, metadata } = await openCheckpoint(input);
  const { dtype, maxShard } = options;
  const converted = dtype ? castFloats(tensors, dtype) : tensors;
  let files = [output];
  if (ending === ".safetensors") {
    // transformers asks for a format
    await writeSafetensors(output, converted, { metadata: { format: "pt", ...metadata } });
  } else {
    await mkdir(output, { recursive: true });
    await refuseOverwriting(input, output);
    const written = await writeShardedSafetensors(output, converted, {
      metadata,
      maxShardBytes: maxShard,
    });
    files = written.map((file) => join(output, file));
  }
  const changes = new Map<string, number>();
  for (const [name, array] of Object.entries(converted)) {
    const from = tensors[name]!.dtype;
    const change = from === array.dtype ? `${from} unchanged` : `${from} to ${array.dtype}`;
    changes.set(change, (changes.get(change) ?? 0) + 1);
  }
  const bytes = Object.values(converted).reduce((sum, array) => sum + byteLength(array), 0);
  answer(
    [
      `${output}: ${Object.keys(converted).length} tensors of ${format}, ${formatBytes(bytes)} in ${files.length} file${files.length === 1 ? "" : "s"}`,
      ...[...changes].map(([change, count]) => `  ${count} ${change}`),
    ],
    { format, files, bytes, changes: Object.fromEntries(changes) },
  );
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
