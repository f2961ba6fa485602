import { join } from "node:path";
import type { Logger, OnProgress } from "@aligntok/core";
import type { EngineName } from "@aligntok/jit";
import { Command, Option } from "commander";
import { continuedBy } from "../failure.ts";
import { defineAction, realNumber, type Session } from "../session.ts";

/** What a quickstart run is a function of, and how it talks to its caller. */
export interface QuickstartOptions {
  /** Run folder, made where absent; a run that was interrupted there continues. */
  readonly out: string;
  /** Nominal minutes: scales the number of steps by a fixed rule, never by the clock. */
  readonly minutes: number;
  /** Images instead of the sample photographs: what `openImages` takes. */
  readonly images?: string;
  /** Encoder instead of the embedded one: what `loadEncoder` takes. */
  readonly encoder?: string;
  /** Folder with `vgg.safetensors` and `heads.safetensors`: LPIPS as the perceptual term. */
  readonly lpips?: string;
  readonly seed: number;
  readonly engine: EngineName;
  readonly threads?: number;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly log: Logger;
}

/** What to print when it is done; `metrics` is the content of metrics.json. */
export interface QuickstartResult {
  readonly metrics: object;
  /** The outcome in plain words, one line each. */
  readonly summary: readonly string[];
}

interface ParsedOptions {
  readonly out: string;
  readonly minutes: number;
  readonly images?: string;
  readonly encoder?: string;
  readonly lpips?: string;
}

export function quickstartCommand(
  run: (options: QuickstartOptions) => Promise<QuickstartResult>,
): Command {
  const command = new Command("quickstart")
    .summary("the whole method on sample photographs, in minutes")
    .description(
      "Runs the whole method on the sample photographs, without a network: a pretrained encoder becomes a tokenizer " +
        "in three stages, a diffusion transformer generates images from it, and report.html shows what came of it.",
    )
    .option("--out <folder>", "run folder; an interrupted run there continues", "runs/quickstart")
    .addOption(
      new Option(
        "--minutes <n>",
        "nominal minutes on two cores; scales the steps (1: smoke test, 60: good pictures)",
      )
        .argParser(realNumber(0, true))
        .default(10),
    )
    .option(
      "--images <path>",
      "your images: a folder (sub-folders are classes), glob, tar shards, zip, npz, Parquet",
    )
    .option(
      "--encoder <path>",
      "your encoder: a folder with config.json and weights, a file of a known model, or a name in the cache",
    )
    .option(
      "--lpips <folder>",
      "LPIPS as the perceptual term: vgg.safetensors (torchvision) and heads.safetensors (v0.1); otherwise the encoder's features",
    )
    .addHelpText(
      "after",
      `
A result does not depend on the speed of the machine, and the same command on the same machine gives the same metrics.

Examples:
  aligntok quickstart
  aligntok quickstart --minutes 1 --out runs/smoke
  aligntok quickstart --images photos --encoder dinov2-small --minutes 60 --out runs/mine`,
    );
  return defineAction(command, async (options: ParsedOptions, session: Session) => {
    const { out, minutes, images, encoder, lpips } = options;
    const { seed, engine, threads, signal, onProgress, log, answer } = session;
    const { metrics, summary } = await run({
      out,
      minutes,
      ...(images !== undefined && { images }),
      ...(encoder !== undefined && { encoder }),
      ...(lpips !== undefined && { lpips }),
      seed,
      engine,
      ...(threads !== undefined && { threads }),
      signal,
      onProgress,
      log,
    }).catch(continuedBy("run the same command again to continue"));
    const report = join(out, "report.html");
    answer([...summary, `report: ${report}`], { out, report, metrics });
  });
}
