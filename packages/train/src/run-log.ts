/**
 * The curves of a run: `log.jsonl`, one object a line with `step` and the metrics, and the same
 * scalars in `events.out.tfevents.*` for TensorBoard. Lines hold no times, so that the log of a
 * resumed run equals that of an uninterrupted one.
 */
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { asIoError } from "./checkpoint.ts";
import { formatScalarRecord, formatVersionRecord, lengthUntilStep } from "./event-file.ts";

/** Finite numbers by name. */
export type Metrics = Readonly<Record<string, number>>;

export interface RunLog {
  /** Appends a line and an event, at once and in full. `step`: steps done, never falling. */
  write(step: number, metrics: Metrics): void;
  /** Drops what was written after that step, and a line that a killed process left unfinished. */
  rewind(step: number): void;
  close(): void;
}

const logName = "log.jsonl";
const eventPattern = /^events\.out\.tfevents\.\d+\.aligntok$/;

/**
 * Opens the logs of a run folder for appending; the folder and the files are created where absent.
 * @throws AlignTokError `io` where the folder cannot be written; later calls likewise.
 */
export function createRunLog(folder: string): RunLog {
  const refusing = <T>(write: () => T): T => {
    try {
      return write();
    } catch (error) {
      throw asIoError(error, `log in ${folder}`);
    }
  };
  const now = () => Date.now() / 1000;
  const logPath = join(folder, logName);

  const { log, events, eventPath } = refusing(() => {
    mkdirSync(folder, { recursive: true });
    const existing = readdirSync(folder).find((name) => eventPattern.test(name));
    const eventPath = join(folder, existing ?? `events.out.tfevents.${Math.floor(now())}.aligntok`);
    const log = openSync(logPath, "a");
    const events = openSync(eventPath, "a");
    if (!existing) writeSync(events, formatVersionRecord(now()));
    return { log, events, eventPath };
  });

  return {
    write: (step, metrics) =>
      refusing(() => {
        writeSync(log, `${JSON.stringify({ step, ...metrics })}\n`);
        writeSync(events, formatScalarRecord(now(), step, metrics));
      }),
    rewind: (step) =>
      refusing(() => {
        ftruncateSync(log, linesUntilStep(readFileSync(logPath), step));
        const kept = lengthUntilStep(readFileSync(eventPath), step);
        ftruncateSync(events, kept);
        if (kept === 0) writeSync(events, formatVersionRecord(now()));
      }),
    close() {
      closeSync(log);
      closeSync(events);
    },
  };
}

/** The lines of a run's `log.jsonl`, or none where there is no such file; an unfinished last line is left out. */
export async function readRunLog(folder: string): Promise<({ readonly step: number } & Metrics)[]> {
  const path = join(folder, logName);
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return Buffer.alloc(0);
    throw asIoError(error, `log ${path}`);
  });
  const whole = bytes.subarray(0, linesUntilStep(bytes, Number.POSITIVE_INFINITY)).toString();
  return whole
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** Length in bytes of the leading lines that are whole and of no later step than `step`. */
function linesUntilStep(bytes: Buffer, step: number): number {
  let offset = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, offset)) {
    const found = lineStep(bytes.toString("utf8", offset, end));
    if (found === undefined || found > step) break;
    offset = end + 1;
  }
  return offset;
}

function lineStep(line: string): number | undefined {
  try {
    const step: unknown = JSON.parse(line)?.step;
    return typeof step === "number" ? step : undefined;
  } catch {
    return undefined;
  }
}
