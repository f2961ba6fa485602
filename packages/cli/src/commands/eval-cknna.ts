import { check } from "@aligntok/core";
import { Command, Option } from "commander";
import { type PooledRows, readPooledRows } from "../eval/pooled-rows.ts";
import { formatFigure } from "../progress-printer.ts";
import { defineAction, realNumber, type Session, wholeNumber } from "../session.ts";

interface CknnaCommandOptions {
  readonly a: string;
  readonly b: string;
  readonly k: number;
  readonly quantile: number;
}

export function evalCknnaCommand(): Command {
  const command = new Command("cknna")
    .summary("whether two representations of the same images have the same neighbours")
    .description(
      "Centred kernel nearest-neighbour alignment of two files of latents or features of the same images: about 0 for unrelated ones, 1 for equal ones.",
    )
    .requiredOption("--a <path>", "file of encode or features; tokens and latents are averaged")
    .requiredOption("--b <path>", "the other one, of the same images in the same order")
    .addOption(
      new Option("--k <n>", "neighbours of each image").argParser(wholeNumber(2)).default(10),
    )
    .addOption(
      new Option(
        "--quantile <q>",
        "clamp features to this quantile of their magnitudes; platonic-rep and VFM-VAE take 0.95",
      )
        .argParser(realNumber(0, true))
        .default(1),
    )
    .addHelpText(
      "after",
      `
Compare only values of equal images and k.

Examples:
  aligntok eval cknna --a latents.safetensors --b dinov2.safetensors
  aligntok eval cknna --a latents.safetensors --b dinov2.safetensors --k 10 --quantile 0.95 --json`,
    );
  return defineAction(command, evalCknna);
}

async function evalCknna(options: CknnaCommandOptions, session: Session): Promise<void> {
  const { k, quantile } = options;
  const { computeCknna } = await import("@aligntok/eval-fid");
  const a = await readPooledRows(options.a, session);
  const b = await readPooledRows(options.b, session);
  checkSameImages(a, b);
  const images = a.features.shape[0]!;
  const cknna = computeCknna(a.features, b.features, { k, quantile });
  session.answer(`CKNNA ${formatFigure(cknna)}, ${images} images, k ${k}`, {
    ...{ cknna, images, k, quantile, a: options.a, b: options.b },
    widths: [a.features.shape[1], b.features.shape[1]],
  });
}

/** Names tell, where both files have them; otherwise the count must do. */
export function checkSameImages(a: PooledRows, b: PooledRows): void {
  const [first, second] = [a.features.shape[0]!, b.features.shape[0]!];
  check(
    first === second,
    () =>
      `${b.path}: expected ${first} images as in ${a.path}, got ${second}. make both from the same images`,
  );
  const { keys } = b;
  if (!a.keys || !keys) return;
  const at = a.keys.findIndex((key, i) => key !== keys[i]);
  check(
    at < 0,
    () =>
      `${b.path}: expected image ${at} to be ${a.keys![at]} as in ${a.path}, got ${keys[at]}. make both from the same images`,
  );
}
