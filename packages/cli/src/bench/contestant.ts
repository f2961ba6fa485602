/** A process that has prepared a case and runs it when told to; see `measured-process.ts` for what they say. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { AlignTokError } from "@aligntok/core";

export interface Contestant {
  /** What it said when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Milliseconds of each of `count` runs. */
  run(count: number): Promise<readonly number[]>;
  /** Ends the process; its peak resident memory in MB. */
  end(): Promise<number>;
  /** Ends the process at once. */
  kill(): void;
}

/**
 * Starts a process and waits until it is ready.
 *
 * @throws AlignTokError `unavailable` with the last line of its standard error where it cannot be started or ends early,
 * and where it says something else than an answer or nothing for too long: it is ended then. So do `run` and `end`.
 */
export async function startContestant(
  command: string,
  args: readonly string[],
  {
    answerMs,
    ...options
  }: {
    readonly env?: NodeJS.ProcessEnv;
    readonly signal: AbortSignal;
    /** Longest time to become ready, for each run, and to end, in milliseconds. @default none */
    readonly answerMs?: number;
  },
): Promise<Contestant> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  let [complaint, failure] = ["", ""];
  child.stderr.on("data", (text) => {
    complaint = `${complaint}${text}`.slice(-4000);
  });
  child.stdin.on("error", () => {}); // it has ended: what it said of that is read below
  const ended = new Promise<void>((resolve) => {
    child.on("error", ({ message }) => {
      failure = message;
      resolve();
    });
    child.on("close", () => resolve());
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  function kill(): void {
    child.kill("SIGKILL");
    child.stderr.destroy(); // a child of its own that hangs may hold it, which would keep this process alive
  }

  /** Kills the process where it takes longer than `times` its time. */
  async function inTime<T>(work: Promise<T>, times = 1): Promise<T> {
    if (answerMs === undefined) return work;
    const timer = setTimeout(() => {
      failure = `expected an answer within ${(answerMs * times) / 1000} s, got none. it hangs`;
      kill();
    }, answerMs * times);
    return work.finally(() => clearTimeout(timer));
  }

  async function answer(times?: number): Promise<Readonly<Record<string, unknown>>> {
    const next = Promise.race([lines.next(), ended.then(() => lines.next())]);
    const line = await inTime(next, times);
    if (!line.done) return parse(line.value);
    await ended;
    options.signal.throwIfAborted();
    const last = complaint.trim().split("\n").at(-1) ?? "";
    const killed =
      child.signalCode && `ended by ${child.signalCode}, which may be a lack of memory`;
    throw new AlignTokError("unavailable", failure || last || killed || "ended without a word");
  }

  function parse(line: string): Readonly<Record<string, unknown>> {
    try {
      return JSON.parse(line) as Record<string, unknown>;
    } catch (cause) {
      kill();
      throw new AlignTokError(
        "unavailable",
        `expected a line of JSON on its standard output, got ${JSON.stringify(line.slice(0, 200))}. what prints there must print to standard error`,
        { cause },
      );
    }
  }

  const order = (text: string, times?: number) => {
    child.stdin.write(`${text}\n`);
    return answer(times);
  };
  return {
    ready: await answer(),
    run: async (count) => (await order(`run ${count}`, count)).ms as number[],
    async end() {
      const { rssMb } = await order("end");
      child.stdin.end();
      await inTime(ended);
      return rssMb as number;
    },
    kill,
  };
}
