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
 * @throws AlignTokError `unavailable` with the last line of its standard error where it cannot be started or ends early
 */
export async function startContestant(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly signal: AbortSignal },
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

  async function answer(): Promise<Readonly<Record<string, unknown>>> {
    const line = await Promise.race([lines.next(), ended.then(() => lines.next())]);
    if (!line.done) return JSON.parse(line.value) as Record<string, unknown>;
    await ended;
    options.signal.throwIfAborted();
    const last = complaint.trim().split("\n").at(-1) ?? "";
    const killed =
      child.signalCode && `ended by ${child.signalCode}, which may be a lack of memory`;
    throw new AlignTokError("unavailable", failure || last || killed || "ended without a word");
  }

  const order = (text: string) => {
    child.stdin.write(`${text}\n`);
    return answer();
  };
  return {
    ready: await answer(),
    run: async (count) => (await order(`run ${count}`)).ms as number[],
    async end() {
      const { rssMb } = await order("end");
      child.stdin.end();
      await ended;
      return rssMb as number;
    },
    kill: () => {
      child.kill("SIGKILL");
    },
  };
}
