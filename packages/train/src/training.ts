/**
 * The loop around a training step: resume, run, watch, log, save.
 *
 * It knows nothing of models: a step is a function of its index that changes some state, and
 * `save` and `restore` turn that state into a checkpoint and back. Where the step draws its random
 * numbers from streams named by the index, a resumed run equals an uninterrupted one bit for bit.
 */
import { setImmediate } from "node:timers/promises";
import { AlignTokError, check, type Progress } from "@aligntok/core";
import {
  type Checkpoint,
  type CheckpointContent,
  loadLatestCheckpoint,
  saveCheckpoint,
} from "./checkpoint.ts";
import { createRateMeter, type Rate } from "./rate-meter.ts";
import type { Metrics, RunLog } from "./run-log.ts";

export interface TrainingProgress extends Progress, Rate {
  /** Steps in all. */
  readonly total: number;
}

export interface TrainingOptions {
  /** The run folder: checkpoints go to `checkpoints/` in it. */
  readonly folder: string;
  /** Steps in all, those of earlier processes included. */
  readonly steps: number;
  /**
   * One step, given its index from 0 to steps - 1. Metrics must be finite. It may reject with the reason of the
   * loop's `signal` as long as it has changed nothing of the state: the run then ends as if it had not begun.
   */
  readonly step: (index: number) => Metrics | Promise<Metrics>;
  /** The state after the last step. Arrays may be live views: they are written before the next step. */
  readonly save: () => TrainingState | Promise<TrainingState>;
  /** Takes up a saved state. Not called where there is no checkpoint. */
  readonly restore: (checkpoint: TrainingCheckpoint) => void | Promise<void>;
  /** Where means of the metrics since the line before are written; rewound on resume. @default none */
  readonly log?: RunLog;
  /** Steps between log lines; the last step always gets one. @default 10 */
  readonly logEvery?: number;
  /** Steps between checkpoints; the last step always gets one. @default 1000 */
  readonly checkpointEvery?: number;
  /** Checkpoints to leave. @default 2 */
  readonly keep?: number;
  /** What progress calls it. @default "training" */
  readonly task?: string;
  /** Ends the run with a checkpoint: after the step under way, or at once where that one heeds the signal, too. */
  readonly signal?: AbortSignal;
  /** Called after each step, and once at the start of a resumed run. */
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/** What a run saves: `tensors` by file, and JSON. */
export interface TrainingState extends CheckpointContent {
  readonly state?: Readonly<Record<string, unknown>>;
}

export interface TrainingCheckpoint extends Checkpoint {
  readonly state: Readonly<Record<string, unknown>>;
}

export interface TrainingResult {
  /** Steps that earlier processes had done; equal to `steps` where nothing was left to do. */
  readonly resumedFrom: number;
  /** Folder of the last checkpoint. */
  readonly checkpoint: string;
}

/** Sums of metrics since the last log line; kept in checkpoints, since these fall between lines too. */
type Pending = Record<string, { sum: number; count: number }>;

/**
 * Runs a training to its end, from the latest checkpoint in its folder if there is one.
 *
 * @throws AlignTokError `aborted` after the signal, everything saved; `diverged` where a metric is
 * NaN or infinite (nothing is saved then); `io` where the folder cannot be written; `bad-input`
 * where the checkpoint has more steps than asked for. Errors of the callbacks pass through.
 */
export async function runTraining(options: TrainingOptions): Promise<TrainingResult> {
  const { folder, steps, step, save, log, signal, onProgress, keep = 2 } = options;
  const { logEvery = 10, checkpointEvery = 1000, task = "training" } = options;
  for (const [name, value] of Object.entries({ steps, logEvery, checkpointEvery })) {
    check(
      Number.isInteger(value) && value >= 1,
      () => `${name}: expected a whole number of at least 1, got ${value}`,
    );
  }

  const latest = await loadLatestCheckpoint(folder);
  const resumedFrom = latest?.step ?? 0;
  check(
    resumedFrom <= steps,
    () =>
      `steps: expected at least the ${resumedFrom} already done in ${folder}, got ${steps}. raise steps or choose a new folder`,
  );
  let checkpoint = latest?.path;
  let savedStep = resumedFrom;
  let pending: Pending = {};
  if (latest) {
    const saved = latest.state as { readonly pendingMetrics?: Pending } | null;
    const { pendingMetrics, ...state } = saved ?? {};
    pending = pendingMetrics ?? {};
    await options.restore({ ...latest, state });
  }
  log?.rewind(resumedFrom);

  const meter = createRateMeter({ total: steps });
  const report = (done: number, metrics?: Metrics) => {
    const rate = meter.update(done, performance.now() / 1000);
    onProgress?.({ task, done, total: steps, ...(metrics && { metrics }), ...rate });
  };
  const saveStep = async (done: number) => {
    const { tensors, state } = await save();
    const content = { tensors, state: { ...state, pendingMetrics: pending }, keep };
    checkpoint = await saveCheckpoint(folder, done, content);
    savedStep = done;
  };

  report(resumedFrom);
  for (let done = resumedFrom; done < steps; ) {
    if (signal?.aborted) {
      if (done > savedStep) await saveStep(done);
      throw new AlignTokError(
        "aborted",
        `${task}: interrupted after step ${done} of ${steps}, everything is saved in ${folder}. run the same command again to continue`,
        { cause: signal.reason },
      );
    }
    const metrics = await untilAborted(step(done), signal);
    if (!metrics) continue; // given up: the loop ends above
    done++;
    checkFinite(metrics, `${task}: step ${done} of ${steps}`, checkpoint);
    addMetrics(pending, metrics);
    const last = done === steps;
    // the line before the checkpoint: a kill in between repeats it, the other way round would lose it
    if (log && (last || done % logEvery === 0)) {
      log.write(done, meansOf(pending));
      pending = {};
    }
    if (last || done % checkpointEvery === 0) await saveStep(done);
    report(done, metrics);
    await setImmediate(); // lets Ctrl-C and timers in, which an engine that blocks would starve
  }
  return { resumedFrom, checkpoint: checkpoint! };
}

/** What a step gives; nothing where it was given up because of the signal. */
async function untilAborted(
  step: Metrics | Promise<Metrics>,
  signal: AbortSignal | undefined,
): Promise<Metrics | undefined> {
  try {
    return await step;
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return undefined;
    throw error;
  }
}

function checkFinite(metrics: Metrics, where: string, checkpoint: string | undefined): void {
  for (const [name, value] of Object.entries(metrics)) {
    if (Number.isFinite(value)) continue;
    const good = checkpoint ? `the last good checkpoint is ${checkpoint}` : "no checkpoint yet";
    throw new AlignTokError(
      "diverged",
      `${where}: expected a finite ${name}, got ${value}. ${good}; lower the learning rate or clip the gradients`,
    );
  }
}

function addMetrics(pending: Pending, metrics: Metrics): void {
  for (const [name, value] of Object.entries(metrics)) {
    pending[name] ??= { sum: 0, count: 0 };
    pending[name].sum += value;
    pending[name].count++;
  }
}

function meansOf(pending: Pending): Metrics {
  return Object.fromEntries(
    Object.entries(pending).map(([name, { sum, count }]) => [name, sum / count]),
  );
}
