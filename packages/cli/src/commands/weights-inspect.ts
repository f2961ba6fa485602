import { byteLength, sizeOf } from "@aligntok/core";
import { Command } from "commander";
import { formatBytes } from "../progress-printer.ts";
import { defineAction, type Session } from "../session.ts";
import { formatWeightsTree } from "../weights-tree.ts";

export function weightsInspectCommand(): Command {
  const command = new Command("inspect")
    .summary("names, shapes, dtypes and sizes of the tensors in a file")
    .description("Shows what a file or folder of weights holds, without reading the tensors.")
    .argument("<path>", "file of any format that is read here, or a folder of Hugging Face")
    .addHelpText(
      "after",
      `
Examples:
  aligntok weights inspect model.safetensors
  aligntok weights inspect dinov2-small --json`,
    );
  return defineAction(command, inspect);
}

async function inspect(_options: unknown, { args, answer }: Session): Promise<void> {
  const [path = ""] = args;
  const { openCheckpoint } = await import("@aligntok/checkpoint");
  const { format, tensors, metadata } = await openCheckpoint(path);
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
    ],
    { format, tensors: entries, totals: { tensors: entries.length, parameters, bytes }, metadata },
  );
}

/** Metadata may be whole documents. */
function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > 100 ? `${line.slice(0, 99)}…` : line;
}
