import { Command, CommanderError } from "commander";
import { benchCommand } from "./commands/bench.ts";
import { decodeCommand } from "./commands/decode.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { encodeCommand } from "./commands/encode.ts";
import { evalCommand } from "./commands/eval.ts";
import { featuresCommand } from "./commands/features.ts";
import { quickstartCommand } from "./commands/quickstart.ts";
import { reconstructCommand } from "./commands/reconstruct.ts";
import { sampleCommand } from "./commands/sample.ts";
import { trainCommand } from "./commands/train.ts";
import { weightsCommand } from "./commands/weights.ts";
import { describeFailure } from "./failure.ts";
import { versionOf } from "./version.ts";

/** The whole command line, ready to parse. */
export function createProgram(): Command {
  const program = new Command("aligntok")
    .description("A pretrained visual encoder becomes the tokenizer of a latent diffusion model.")
    .version(versionOf("@aligntok/cli") ?? "unknown", "--version", "print the version")
    .helpOption("--help", "show this help")
    .helpCommand(false)
    .showHelpAfterError(false)
    .addCommand(
      quickstartCommand(async (options) =>
        (await import("./quickstart/run.ts")).runQuickstart(options),
      ),
    )
    .addCommand(trainCommand())
    .addCommand(featuresCommand())
    .addCommand(encodeCommand())
    .addCommand(decodeCommand())
    .addCommand(reconstructCommand())
    .addCommand(sampleCommand())
    .addCommand(evalCommand())
    .addCommand(weightsCommand())
    .addCommand(doctorCommand())
    .addCommand(benchCommand())
    .addHelpText(
      "after",
      "\nExit status: 0 done, 1 failed, 2 bad usage or bad input, 130 interrupted.\n" +
        "aligntok COMMAND --help shows the options of a command with examples.",
    );
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) {
    command
      .helpOption("--help", "show this help")
      .exitOverride()
      .configureOutput({ outputError: () => {} }); // errors are printed once, by runCommandLine
  }
  return program;
}

/** Parses and runs; returns the exit status. Nothing is thrown. */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  process.stdout.on("error", ignoreClosedPipe);
  const program = createProgram();
  if (argv.length === 0) {
    process.stderr.write(program.helpInformation());
    return 2;
  }
  try {
    await program.parseAsync(argv, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.code === "commander.help") return 2; // `aligntok weights` alone has shown its help
      if (error.exitCode === 0) return 0; // help or version
      return complain(usageMessage(error, argv, program), 2);
    }
    if (isDebug(argv) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    const { message, exitCode } = describeFailure(error);
    return complain(message, exitCode);
  }
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`aligntok: ${/[.!?]$/.test(message) ? message : `${message}.`}\n`);
  return exitCode;
}

/** Commander's message on one line, and the help page to read. */
function usageMessage(error: CommanderError, argv: readonly string[], program: Command): string {
  const what = error.message
    .replace(/^error: /, "")
    .replace(/\s+/g, " ")
    .replace(/\.$/, "");
  const known = program.commands.some((command) => command.name() === argv[0]);
  return `${what}. run aligntok ${known ? `${argv[0]} ` : ""}--help.`;
}

function isDebug(argv: readonly string[]): boolean {
  return argv.join(" ").match(/--log-level[ =]debug/) !== null;
}

/** `aligntok ... | head` closes the pipe early; that is no failure. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}
