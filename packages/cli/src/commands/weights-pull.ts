import { Command } from "commander";
import { defineAction, type Session } from "../session.ts";

interface WeightsPullOptions {
  readonly offline?: true;
  readonly revision?: string;
  readonly force?: true;
}

export function weightsPullCommand(): Command {
  const command = new Command("pull")
    .summary("fetches weights into the cache")
    .description(
      "Fetches weights into the cache that Python's huggingface_hub uses, and checks them.",
    )
    .argument("<names...>", "names of the list, or OWNER/NAME[/PATH] of Hugging Face")
    .option("--offline", "only look whether they are there")
    .option(
      "--revision <name>",
      "branch, tag or commit of a Hugging Face repository (default: as listed, or main)",
    )
    .option("--force", "fetch them even if they are there")
    .addHelpText(
      "after",
      `
Heeds HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY, HTTP_PROXY, NO_PROXY, and
ALIGNTOK_HOME for what is not from Hugging Face. After Ctrl-C or a failure, the same command goes on where it stopped.

Examples:
  aligntok weights pull dinov2-small
  aligntok weights pull facebook/dinov2-base google/siglip2-base-patch16-224
  HF_TOKEN=hf_... aligntok weights pull dinov3-vitb16`,
    );
  return defineAction(command, pull);
}

async function pull(options: WeightsPullOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const { pullWeights } = await import("@aligntok/checkpoint");
  const pulled = [];
  for (const name of session.args) {
    pulled.push(await pullWeights(name, { ...options, signal, onProgress }));
  }
  answer(
    pulled.map(({ name, path }) => `${name}: ${path}`),
    { pulled },
  );
}
