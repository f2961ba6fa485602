import { join } from "node:path";
import { check } from "@aligntok/core";
import { Command, Option } from "commander";
import { continuedBy } from "../failure.ts";
import { defineAction, type Session } from "../session.ts";

interface TrainOptions {
  readonly set?: readonly string[];
  readonly out?: string;
  readonly resume?: true;
  readonly plan?: true;
  readonly onNan?: "stop" | "skip";
}

export function trainCommand(): Command {
  return new Command("train")
    .summary("train what a configuration describes")
    .description("Trains what a configuration describes.")
    .addCommand(trainTokenizerCommand());
}

function trainTokenizerCommand(): Command {
  const command = new Command("tokenizer")
    .summary("the stages that make a tokenizer of an encoder")
    .description(
      "Makes a tokenizer of a pretrained encoder, in the stages that the configuration lists. Prints first what each trains, what stays frozen, and the memory that it needs.",
    )
    .argument(
      "<config>",
      "YAML file, or the name of one that comes with the package; paths of images and weights start from the working directory",
    )
    .option("--set <key=value>", "changes a key: stages.latent.steps=100", collect)
    .option("--out <folder>", "run folder (default: runs/ and the name of the configuration)")
    .option("--resume", "continue the run that the folder holds")
    .option("--plan", "print what would be done, and stop")
    .addOption(
      new Option(
        "--on-nan <what>",
        "at a loss that is not finite: stop, or skip the step; of every stage, whatever its onNaN says",
      ).choices(["stop", "skip"]),
    )
    .addHelpText(
      "after",
      `
By name: small, imagenet, laion, ablations/lora, baselines/va-vae, ... (the package's folder configs/tokenizer).

Examples:
  aligntok train tokenizer small --plan
  aligntok train tokenizer small --set data.images=photos --out runs/mine
  aligntok train tokenizer small --set data.images=photos --out runs/mine --resume`,
    );
  return defineAction(command, trainTokenizer);
}

function collect(value: string, values: readonly string[] = []): readonly string[] {
  return [...values, value];
}

async function trainTokenizer(options: TrainOptions, session: Session): Promise<void> {
  const { answer, log, args } = session;
  const [path] = args;
  check(path, "train tokenizer: expected a configuration. give its path or name");
  const [
    { readConfig },
    { tokenizerConfigSchema },
    { openTrainingImages },
    { prepareTraining, planTraining },
    { describePlan },
  ] = await Promise.all([
    import("../train/read-config.ts"),
    import("../train/tokenizer-config.ts"),
    import("../train/training-images.ts"),
    import("../train/tokenizer-training.ts"),
    import("../train/tokenizer-plan.ts"),
  ]);
  const config = await readConfig(path, tokenizerConfigSchema, options.set);
  const name = path.replace(/^.*[\\/]/, "").replace(/\.ya?ml$/, "");
  const out = options.out ?? join("runs", name);
  const images = await openTrainingImages(config.data, session.seed);
  const training = await prepareTraining(config, images, session);
  const plan = planTraining(training);
  const lines = describePlan(plan, config, {
    images: images.train.length,
    heldOut: images.heldOut.length,
    out,
  });
  if (options.plan) {
    answer(lines, { out, config, stages: plan });
    return;
  }
  for (const line of lines) log.info(line);
  const { runTokenizerTraining } = await import("../train/run-tokenizer.ts");
  const { summary, metrics } = await runTokenizerTraining(training, {
    out,
    name,
    resume: options.resume ?? false,
    session,
    ...(options.onNan && { onNaN: options.onNan }),
  }).catch(continuedBy("run the same command with --resume to continue"));
  answer(summary, { out, tokenizer: join(out, "tokenizer"), metrics });
}
