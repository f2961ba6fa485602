import { Command } from "commander";
import { evalCknnaCommand } from "./eval-cknna.ts";
import { evalLatentsCommand } from "./eval-latents.ts";
import { evalProbeCommand } from "./eval-probe.ts";

export function evalCommand(): Command {
  return new Command("eval")
    .summary("measurements: probe, cknna, latents")
    .description("Measures what latents and features hold.")
    .helpCommand(false)
    .addCommand(evalProbeCommand())
    .addCommand(evalCknnaCommand())
    .addCommand(evalLatentsCommand())
    .addHelpText(
      "after",
      `
Examples:
  aligntok eval probe --latents latents.safetensors
  aligntok eval cknna --a latents.safetensors --b dinov2.safetensors
  aligntok eval latents --latents latents.safetensors --report latents.html`,
    );
}
