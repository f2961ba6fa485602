import { AlignTokError, type Logger, type OnProgress } from "@aligntok/core";
import type { EngineName } from "@aligntok/jit";
import { type Command, InvalidArgumentError, Option } from "commander";
import { createProgressPrinter } from "./progress-printer.ts";
import { loadReferenceBackend } from "./reference-backend.ts";

const engineNames = ["onnxruntime", "tensorflow", "reference"] as const satisfies EngineName[];
const logLevels = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Options that every command takes. */
export interface CommonOptions {
  readonly seed: number;
  readonly engine: EngineName;
  readonly threads?: number;
  readonly logLevel: LogLevel;
  readonly json?: true;
}

/** What a command works with besides its own options. */
export interface Session extends Omit<CommonOptions, "json"> {
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Shows progress on standard error. */
  readonly onProgress: OnProgress;
  readonly log: Logger;
  /** What stands on the command line besides options. */
  readonly args: readonly string[];
  /** The command's answer: lines for people, or `value` alone as JSON under `--json`. */
  answer(lines: string | readonly string[], value: unknown): void;
}

/** Gives a command the common options and runs `action` inside a session, which Ctrl-C aborts. */
export function defineAction<Options>(
  command: Command,
  action: (options: Options, session: Session) => Promise<void>,
): Command {
  return command
    .addOption(
      new Option("--seed <n>", "seed of every random number").argParser(wholeNumber(0)).default(0),
    )
    .addOption(
      new Option("--engine <name>", "what runs the graphs")
        .choices(engineNames)
        .default("onnxruntime"),
    )
    .addOption(
      new Option("--threads <n>", "threads of the engine (default: one per core)").argParser(
        wholeNumber(1),
      ),
    )
    .addOption(
      new Option("--log-level <level>", "how much to say on standard error")
        .choices(logLevels)
        .default("info"),
    )
    .option("--json", "print only JSON on standard output")
    .action(async () => {
      const options = command.opts() as Options & CommonOptions;
      await withSession(options, command.args, (session) => action(options, session));
    });
}

async function withSession(
  common: CommonOptions,
  args: readonly string[],
  action: (session: Session) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const level = logLevels.indexOf(common.logLevel);
  const printer = createProgressPrinter(process.stderr);

  function say(severity: LogLevel, message: string): void {
    if (level < logLevels.indexOf(severity)) return;
    printer.settle();
    process.stderr.write(`${severity === "info" ? "" : `${severity}: `}${message}\n`);
  }

  // The first Ctrl-C lets the work save what it has; the second ends the process at once.
  function interrupt(): void {
    if (signal.aborted) {
      process.off("SIGINT", interrupt);
      process.kill(process.pid, "SIGINT"); // process.exit would wait for the engine
    }
    say("warn", "stopping. press Ctrl-C again to stop at once");
    controller.abort(new AlignTokError("aborted", "interrupted"));
  }
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);

  let answered = false;
  try {
    if (common.engine === "reference") await loadReferenceBackend();
    await action({
      ...common,
      args,
      signal,
      onProgress: level >= logLevels.indexOf("info") ? printer.onProgress : () => {},
      log: {
        debug: (message) => say("debug", message),
        info: (message) => say("info", message),
        warn: (message) => say("warn", message),
      },
      answer(lines, value) {
        answered = true;
        printer.settle();
        const text = common.json ? JSON.stringify(value) : [lines].flat().join("\n");
        process.stdout.write(`${text}\n`);
      },
    });
    // Work that ends without an answer although it was interrupted has not done all that was asked.
    if (!answered) signal.throwIfAborted();
  } catch (error) {
    printer.settle();
    // What was interrupted may say what it saved; anything else that breaks on the way out is its consequence.
    const tells = AlignTokError.isInstance(error) && error.code === "aborted";
    throw signal.aborted && !tells ? signal.reason : error;
  } finally {
    printer.settle();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

/** Parser of a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`expected a whole number of at least ${least}.`);
    }
    return value;
  };
}

/** Parser of a number of at least `least`, or above it where `exclusive`. */
export function realNumber(least: number, exclusive = false): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (
      text.trim() === "" ||
      !Number.isFinite(value) ||
      value < least ||
      (exclusive && value === least)
    ) {
      throw new InvalidArgumentError(
        `expected a number ${exclusive ? "above" : "of at least"} ${least}.`,
      );
    }
    return value;
  };
}

/** Parser of `0,3,7`. */
export function wholeNumbers(text: string): readonly number[] {
  return text.split(",").map(wholeNumber(0));
}

/** Parser of `0.01,0.1`: numbers above 0. */
export function realNumbers(text: string): readonly number[] {
  return text.split(",").map(realNumber(0, true));
}
