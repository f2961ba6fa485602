/** One process at a time: a file that exists while work goes on and that its owner touches, so that a dead owner's is known. */
import { randomBytes } from "node:crypto";
import { readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileError } from "../file-error.ts";

const heartbeat = 5000; // ms
const abandonedAfter = 60_000; // ms without a heartbeat
const pollInterval = 100; // ms

/** Runs `work` while holding the lock `path`; waits for another holder. */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const mark = `${process.pid} ${hostname()} ${randomBytes(8).toString("hex")}`;
  while (!(await claim(path, mark))) {
    signal?.throwIfAborted();
    await breakAbandoned(path);
    await sleep(pollInterval, undefined, { ...(signal && { signal }) }).catch(() => {});
  }
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, heartbeat).unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if ((await readFile(path, "utf8").catch(() => "")) === mark) await rm(path, { force: true });
  }
}

async function claim(path: string, mark: string): Promise<boolean> {
  try {
    await writeFile(path, mark, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw fileError("write", path, error);
  }
}

async function breakAbandoned(path: string): Promise<void> {
  const [mark, stats] = await Promise.all([
    readFile(path, "utf8").catch(() => ""),
    stat(path).catch(() => undefined),
  ]);
  if (!stats) return;
  const [pid, host] = mark.split(" ");
  const dead = mark !== "" && host === hostname() && !isAlive(Number(pid));
  if (!dead && Date.now() - stats.mtimeMs < abandonedAfter) return;
  // Renamed first: of several that find it abandoned, one succeeds.
  const aside = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
  const moved = await rename(path, aside).then(
    () => true,
    () => false,
  );
  if (!moved) return;
  const found = await readFile(aside, "utf8").catch(() => "");
  if (found === mark) await rm(aside, { force: true });
  else await rename(aside, path).catch(() => {}); // it was another's, who came in between
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
