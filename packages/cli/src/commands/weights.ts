import { Command } from "commander";
import { weightsConvertCommand } from "./weights-convert.ts";
import { weightsInspectCommand } from "./weights-inspect.ts";
import { weightsListCommand } from "./weights-list.ts";
import { weightsPullCommand } from "./weights-pull.ts";

export function weightsCommand(): Command {
  return new Command("weights")
    .summary("weights of models: list, pull, inspect, convert")
    .description(
      "Lists and fetches the weights of models, shows what files hold, and converts them.",
    )
    .helpCommand(false)
    .addCommand(weightsListCommand())
    .addCommand(weightsPullCommand())
    .addCommand(weightsInspectCommand())
    .addCommand(weightsConvertCommand())
    .addHelpText(
      "after",
      `
Examples:
  aligntok weights list
  aligntok weights pull dinov2-small
  aligntok weights inspect model.safetensors`,
    );
}
