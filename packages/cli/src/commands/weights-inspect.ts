import type { InspectedTokenizer } from "@aligntok/aligntok";
import type { Checkpoint } from "@aligntok/checkpoint";
import { byteLength, heightAndWidth, type NdArray, sizeOf } from "@aligntok/core";
import { Command } from "commander";
import { formatBytes, formatFigure } from "../progress-printer.ts";
import { defineAction, type Session } from "../session.ts";
import { formatColumns } from "../text-table.ts";
import { formatWeightsTree } from "../weights-tree.ts";

export function weightsInspectCommand(): Command {
  const command = new Command("inspect")
    .summary("names, shapes, dtypes and sizes of the tensors in a file")
    .description(
      "Shows what a file or folder of weights holds, without reading the tensors; of a tokenizer also its configuration and parts.",
    )
    .argument(
      "<path>",
      "file of any format that is read here, a folder of Hugging Face, or a tokenizer",
    )
    .addHelpText(
      "after",
      `
Examples:
  aligntok weights inspect model.safetensors
  aligntok weights inspect dinov2-small --json
  aligntok weights inspect runs/quickstart/tokenizer`,
    );
  return defineAction(command, inspect);
}

async function inspect(_options: unknown, { args, answer }: Session): Promise<void> {
  const [path = ""] = args;
  const [{ openCheckpoint }, { inspectTokenizer }] = await Promise.all([
    import("@aligntok/checkpoint"),
    import("@aligntok/aligntok"),
  ]);
  const tokenizer = await inspectTokenizer(path).catch(() => undefined);
  const { format, tensors, metadata } = await openCheckpoint(path).catch((error): Inspected => {
    if (tokenizer) return { format: "several files", tensors: tokenizer.tensors, metadata: {} };
    throw error;
  });
  const entries = Object.entries(tensors).map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
    bytes: byteLength({ dtype, shape }),
  }));
  const parameters = entries.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const counts = new Map<string, number>();
  for (const { dtype } of entries) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  const kinds = [...counts].map(([dtype, count]) => `${count} ${dtype}`).join(", ");
  answer(
    [
      `${path}: ${format}`,
      ...formatWeightsTree(tensors).map((line) => `  ${line}`),
      `${entries.length} tensors (${kinds || "none"}), ${parameters} elements, ${formatBytes(bytes)}`,
      ...Object.entries(metadata).map(([key, value]) => `${key}: ${shorten(value)}`),
      ...(tokenizer ? describeTokenizer(tokenizer) : []),
    ],
    {
      ...{ format, tensors: entries, totals: { tensors: entries.length, parameters, bytes } },
      metadata,
      ...(tokenizer && { tokenizer: summarise(tokenizer) }),
    },
  );
}

/** A tokenizer's files may be more than a checkpoint is. */
type Inspected = Pick<Checkpoint, "metadata"> & {
  readonly format: string;
  readonly tensors: Readonly<Record<string, NdArray>>;
};

function describeTokenizer(tokenizer: InspectedTokenizer): string[] {
  const { model, stride, latent, imageSize, config, parts, stats, ignored } = tokenizer;
  const range = (values: Float32Array) =>
    `${formatFigure(Math.min(...values))} to ${formatFigure(Math.max(...values))}`;
  return [
    "",
    `tokenizer ${model}: f${stride} d${latent}${model === "aligntok" ? `, trained at ${heightAndWidth(imageSize).join("x")} px` : ""}`,
    ...formatColumns(
      ["part", "weights"],
      Object.entries(parts).map(([part, count]) => [part, count.toLocaleString("en-US")]),
    ),
    stats
      ? `latents: means ${range(stats.mean)}, deviations ${range(stats.std)}`
      : "latents: statistics not known",
    ...(ignored.length > 0 ? [`no part of it: ${ignored.length} tensors`] : []),
    ...Object.entries(config).map(([key, value]) => `${key}: ${JSON.stringify(value)}`),
  ];
}

function summarise({ tensors: _, stats, ...tokenizer }: InspectedTokenizer): object {
  return { ...tokenizer, stats: stats ? { mean: [...stats.mean], std: [...stats.std] } : null };
}

/** Metadata may be whole documents. */
function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > 100 ? `${line.slice(0, 99)}…` : line;
}
