import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProgram } from "../src/program.ts";
import { aligntok } from "./command-line.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-usage-"));
});
afterAll(() => rm(folder, { recursive: true }));

const oneLine = /^aligntok: [^\n]+\.\n$/;

describe("as a process", () => {
  test("--help lists every command on standard output and ends with 0", async () => {
    const { status, stdout, stderr } = await aligntok(["--help"]);
    expect(status).toBe(0);
    expect(stderr).toBe("");
    for (const command of createProgram().commands) expect(stdout).toContain(command.name());
  });

  test("an unknown option is one line that names it and the help page, and 2", async () => {
    const { status, stdout, stderr } = await aligntok(["doctor", "--bogus"]);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain("--bogus");
    expect(stderr).toContain("aligntok doctor --help");
  });

  test("missing images are one line that names them, and 2", async () => {
    const [images, out] = [join(folder, "absent"), join(folder, "f.npy")];
    const args = ["features", "--encoder", folder, "--images", images, "--out", out];
    const { status, stdout, stderr } = await aligntok(args);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain(images);
  });

  test("no command at all shows the help on standard error and ends with 2", async () => {
    const { status, stdout, stderr } = await aligntok([]);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("Usage: aligntok");
  });
});

describe("every command", () => {
  const commands = createProgram().commands.flatMap((command) =>
    command.commands.length === 0
      ? [[command.name(), command] as const]
      : command.commands.map((part) => [`${command.name()} ${part.name()}`, part] as const),
  );

  test.each(commands)("%s has help with examples and the common options", (name, command) => {
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) });
    expect(() => command.outputHelp()).not.toThrow();
    expect(help).toContain("Examples:");
    expect(help).toContain(`aligntok ${name}`);
    for (const option of ["--json", "--seed", "--engine", "--threads", "--log-level"]) {
      expect(help).toContain(option);
    }
  });

  test.each(commands)("%s refuses a count of threads that is not a whole number", (_, command) => {
    const threads = command.options.find(({ long }) => long === "--threads");
    expect(() => threads?.parseArg?.("1.5", undefined)).toThrow("whole number");
    expect(() => threads?.parseArg?.("0", undefined)).toThrow("at least 1");
    expect(threads?.parseArg?.("3", undefined)).toBe(3);
  });
});
