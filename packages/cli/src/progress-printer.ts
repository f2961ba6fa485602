import type { OnProgress, Progress } from "@aligntok/core";

export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressPrinter {
  readonly onProgress: OnProgress;
  /** Clears or completes the current line, so that other text can be written. */
  settle(): void;
}

const barWidth = 24;
const terminalInterval = 100; // ms between repaints
const lineInterval = 5000; // ms between lines where nobody watches a terminal
const rateHalfLife = 10_000; // ms after which an old rate counts half

/**
 * Shows progress: a bar that repaints itself on a terminal, a plain line every five seconds elsewhere.
 *
 * The rate is an exponential average of recent work, so that the ETA follows a change of speed and a
 * resumed task, which starts in the middle, is not flattered by what an earlier process did.
 */
export function createProgressPrinter(
  stream: ProgressStream,
  options: { readonly now?: () => number } = {},
): ProgressPrinter {
  const now = options.now ?? (() => performance.now());
  const terminal = stream.isTTY === true;
  let task = "";
  let last = { time: 0, done: 0 };
  let rate = 0; // per second
  let painted = Number.NEGATIVE_INFINITY;
  let pending: Progress | undefined; // the newest report that was not shown

  function measure(progress: Progress): void {
    const time = now();
    const elapsed = time - last.time;
    if (progress.done <= last.done || elapsed <= 0) return;
    const current = ((progress.done - last.done) / elapsed) * 1000;
    const keep = rate === 0 ? 0 : 0.5 ** (elapsed / rateHalfLife);
    rate = keep * rate + (1 - keep) * current;
    last = { time, done: progress.done };
  }

  function paint(progress: Progress): void {
    painted = now();
    pending = undefined;
    const line = formatProgress(progress, rate, terminal);
    if (terminal) stream.write(`\r\x1b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
    else stream.write(`${line}\n`);
  }

  function settle(): void {
    if (pending) paint(pending);
    if (terminal && task) stream.write("\n");
    task = "";
  }

  return {
    settle,
    onProgress(progress) {
      if (progress.task !== task) {
        settle();
        task = progress.task;
        last = { time: now(), done: progress.done };
        rate = 0;
        painted = terminal ? Number.NEGATIVE_INFINITY : now() - lineInterval + 1000; // quick tasks print once
      }
      measure(progress);
      const interval = terminal ? terminalInterval : lineInterval;
      const finished = progress.done === progress.total;
      if (finished || now() - painted >= interval) paint(progress);
      else pending = progress;
    },
  };
}

/** `stage 1  [######------]  320/650  49%  5.9/s  eta 0:56  loss 0.123` */
function formatProgress(progress: Progress, rate: number, withBar: boolean): string {
  const { task, done, total, metrics = {}, unit } = progress;
  const amount = unit === "bytes" ? formatBytes : String;
  const parts = [task];
  if (total !== undefined && total > 0) {
    const part = Math.min(1, done / total);
    const filled = Math.round(part * barWidth);
    if (withBar) parts.push(`[${"#".repeat(filled)}${"-".repeat(barWidth - filled)}]`);
    parts.push(`${amount(done)}/${amount(total)}`, `${Math.floor(part * 100)}%`);
  } else {
    parts.push(amount(done));
  }
  if (rate > 0) {
    if (unit === "bytes") parts.push(`${formatBytes(rate)}/s`);
    else parts.push(rate >= 1 ? `${rate.toPrecision(3)}/s` : `${(1 / rate).toPrecision(3)} s each`);
    if (total !== undefined && done < total)
      parts.push(`eta ${formatSeconds((total - done) / rate)}`);
  }
  for (const [name, value] of Object.entries(metrics)) parts.push(`${name} ${formatFigure(value)}`);
  return parts.join("  ");
}

/** `0:07`, `12:34`, `1:02:03` */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** `512 B`, `1.50 MB`, `4.00 GB`: powers of 1000. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power > 1 ? 2 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

/** Four significant digits: `0.1234`, `15.92`, `650`. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}
