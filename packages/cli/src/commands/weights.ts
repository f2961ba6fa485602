import { Command } from "commander";
import { weightsListCommand } from "./weights-list.ts";
import { weightsPullCommand } from "./weights-pull.ts";

export function weightsCommand(): Command {
  return new Command("weights")
    .summary("weights of models: which there are, fetching them")
    .description("Lists and fetches the weights of models.")
    .helpCommand(false)
    .addCommand(weightsListCommand())
    .addCommand(weightsPullCommand())
    .addHelpText(
      "after",
      `
Examples:
  aligntok weights list
  aligntok weights pull dinov2-small`,
    );
}
