import { check } from "@aligntok/core";
import { Command, Option } from "commander";
import { matchLabels, requireClasses } from "../eval/class-names.ts";
import { readPooledRows } from "../eval/pooled-rows.ts";
import {
  formatPercent,
  holdOut,
  type LabelledRows,
  type ProbeSettings,
  runProbe,
} from "../eval/probe.ts";
import { defineAction, realNumber, realNumbers, type Session, wholeNumber } from "../session.ts";
import { formatColumns } from "../text-table.ts";

interface ProbeCommandOptions {
  readonly latents?: string;
  readonly features?: string;
  readonly labels?: string;
  readonly test?: string;
  readonly testLabels?: string;
  readonly holdout: number;
  readonly solver: ProbeSettings["solver"];
  readonly l2: number;
  readonly rates: readonly number[];
  readonly epochs: number;
  readonly batch: number;
}

export function evalProbeCommand(): Command {
  const command = new Command("probe")
    .summary("how much of the class a linear classifier reads off latents or features")
    .description(
      "Fits a linear classifier to latents or features, averaged over positions and standardised, and judges it on images that it has not seen.",
    )
    .option("--latents <path>", "file of encode, or a folder of LightningDiT's shards")
    .option("--features <path>", "file of features, in place of --latents")
    .option(
      "--labels <file>",
      "text, the class of each image on a line: names or indices (default: labels in the file)",
    )
    .option("--test <path>", "images to judge by (default: some of the same file)")
    .option("--test-labels <file>", "classes of those, as for --labels")
    .addOption(
      new Option(
        "--holdout <share>",
        "of the images, drawn by the seed, to judge by without --test",
      )
        .argParser(realNumber(0, true))
        .default(0.2),
    )
    .addOption(
      new Option(
        "--solver <name>",
        "lbfgs: to the optimum, for up to some ten thousand images; sgd: as papers train it",
      )
        .choices(["lbfgs", "sgd"])
        .default("lbfgs"),
    )
    .addOption(
      new Option("--l2 <weight>", "lbfgs: penalty of the weights")
        .argParser(realNumber(0))
        .default(1e-3),
    )
    .addOption(
      new Option("--rates <list>", "sgd: learning rates at a batch of 256; each trains a probe")
        .argParser(realNumbers)
        .default([0.01, 0.03, 0.1, 0.3, 1]),
    )
    .addOption(
      new Option("--epochs <n>", "sgd: passes over the images")
        .argParser(wholeNumber(1))
        .default(90),
    )
    .addOption(
      new Option("--batch <n>", "sgd: images at a time").argParser(wholeNumber(2)).default(256),
    )
    .addHelpText(
      "after",
      `
sgd: batch normalisation without affine part, a linear layer, momentum 0.9, cosine schedule, no weight decay. Of several
rates the best on the judged images is reported, as papers do, which flatters it a little.

Classes of --test are those of equal names, where both files have names of classes, and otherwise of equal indices.

Examples:
  aligntok eval probe --latents latents.safetensors
  aligntok eval probe --latents train.safetensors --test val.safetensors --solver sgd
  aligntok eval probe --features dinov2.npy --labels classes.txt --holdout 0.5 --json`,
    );
  return defineAction(command, evalProbe);
}

async function evalProbe(options: ProbeCommandOptions, session: Session): Promise<void> {
  const { latents, features, holdout } = options;
  const { seed } = session;
  const path = latents ?? features;
  check(
    path !== undefined && (latents === undefined || features === undefined),
    "eval probe: expected either --latents or --features. give one of them",
  );
  check(
    holdout < 1,
    () => `--holdout: expected a share below 1, got ${holdout}. give one such as 0.2`,
  );
  const { train, test } = await readSets(path, options, session);
  const { solver, l2, rates, epochs, batch } = options;
  const settings = solver === "lbfgs" ? { solver, l2 } : { solver, rates, epochs, batch };
  const result = await runProbe(train, test, { settings, session });
  const { scores, best, classes, width } = result;
  session.answer(
    [
      `${path}: ${result.train} images to fit, ${result.test} to judge by, ${classes} classes, ${width} channels`,
      ...formatColumns(
        [
          solver === "lbfgs" ? "l2" : "rate",
          "fitted top-1",
          "top-1",
          ...(best.top5 === undefined ? [] : ["top-5"]),
        ],
        scores.map(({ setting, trainTop1, top1, top5 }) => [
          String(setting),
          ...[trainTop1, top1, ...(top5 === undefined ? [] : [top5])].map(formatPercent),
        ]),
      ),
    ],
    { path, ...settings, seed, ...result },
  );
}

async function readSets(
  path: string,
  { labels, test: testPath, testLabels, holdout: share }: ProbeCommandOptions,
  session: Session,
): Promise<{ readonly train: LabelledRows; readonly test: LabelledRows }> {
  const train = requireClasses(await readPooledRows(path, session, labels), "--labels");
  if (testPath === undefined) return holdOut(train, { share, seed: session.seed });
  const test = requireClasses(await readPooledRows(testPath, session, testLabels), "--test-labels");
  if (!test.classes !== !train.classes) {
    const { path: nameless } = test.classes ? train : test;
    session.log.warn(`${nameless}: no names of classes, so their indices are taken to be the same`);
  }
  return { train, test: { ...test, labels: matchLabels(test, train) } };
}
