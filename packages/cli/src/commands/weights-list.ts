import { Command } from "commander";
import { defineAction, type Session } from "../session.ts";

export function weightsListCommand(): Command {
  const command = new Command("list")
    .summary("the registry: names, licences, what is in the cache")
    .description("Lists the weights that have a name here. Nothing is fetched.")
    .addHelpText(
      "after",
      `
Any Hugging Face repository can be pulled by OWNER/NAME as well.

Examples:
  aligntok weights list
  aligntok weights list --json`,
    );
  return defineAction(command, list);
}

async function list(_options: unknown, { answer }: Session): Promise<void> {
  const { listWeights } = await import("@aligntok/checkpoint");
  const weights = await listWeights();
  const width = Math.max(...weights.map(({ name }) => name.length));
  const lines = weights.map(({ name, what, licence, millions, gated, path }) =>
    [
      path ? "ok" : "--",
      name.padEnd(width),
      (millions ? `${millions} M` : "").padStart(6),
      `${what} (${licence}${gated ? ", to be accepted on its page" : ""})`,
    ].join("  "),
  );
  answer([...lines, "", "ok: in the cache. M: million parameters."], { weights });
}
