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
   * One step, given its index from 0 to steps - 1. It gives metrics, or with them the change that it has yet to make,
   * which is made only where they are good. It may reject with the reason of the loop's `signal` as long as it has
   * changed nothing of the state: the run then ends as if it had not begun.
   */
  readonly step: (index: number) => StepResult | Promise<StepResult>;
  /** The state after the last step. Arrays may be live views: they are written before the next step. */
  readonly save: () => TrainingState | Promise<TrainingState>;
  /** Takes up a saved state. Not called where there is no checkpoint. */
  readonly restore: (checkpoint: TrainingCheckpoint) => void | Promise<void>;
  /**
   * What is measured of the state, such as a score on held-out data, after each step that ends in a checkpoint and before
   * it is written, so that no kill loses it; goes to the log with the step's metrics. @default nothing
   */
  readonly evaluate?: (done: number) => Metrics | Promise<Metrics>;
  /** Where means of the metrics since the line before are written; rewound on resume. @default none */
  readonly log?: RunLog;
  /** Steps between log lines; the last step always gets one. @default 10 */
  readonly logEvery?: number;
  /** Steps between checkpoints, put off past skipped ones; the last step always gets one. @default 1000 */
  readonly checkpointEvery?: number;
  /** Checkpoints to leave. @default 2 */
  readonly keep?: number;
  /**
   * What happens at a metric that is NaN, infinite or beyond `limits`: `stop` ends the run with `diverged`, `skip` leaves
   * out the step's `apply` and counts it, until ten in a row, during which nothing is saved: what makes steps bad may be the
   * state, and a resumed run skips the same steps again. A step without `apply` has changed the state already and always
   * stops. @default "stop"
   */
  readonly onNaN?: "stop" | "skip";
  /** Largest magnitude of metrics by name, beyond which they count as exploded. @default none */
  readonly limits?: Readonly<Record<string, number>>;
  /** What progress calls it. @default "training" */
  readonly task?: string;
  /** Ends the run with a checkpoint: after the step under way, or at once where that one heeds the signal, too. */
  readonly signal?: AbortSignal;
  /** Called after each step, and once at the start of a resumed run. */
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/** What a step measured, with the change of the state that follows from it unless it is made already. */
export type StepResult = Metrics | { readonly metrics: Metrics; readonly apply: () => void };

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
  /** Steps left out because of `onNaN: "skip"`, those of earlier processes included. */
  readonly skipped: number;
}

/** Steps left out in a row before a run stops: by then it is not the batch. */
const mostSkipped = 10;

/** Sums of metrics since the last log line; kept in checkpoints, since these fall between lines too. */
type Pending = Record<string, { sum: number; count: number }>;

/**
 * Runs a training to its end, from the latest checkpoint in its folder if there is one.
 *
 * @throws AlignTokError `aborted` after the signal, everything saved; `diverged` where a metric is
 * NaN, infinite or beyond its limit (nothing is saved then); `io` where the folder cannot be written; `bad-input`
 * where the checkpoint has more steps than asked for. Errors of the callbacks pass through.
 */
export async function runTraining(options: TrainingOptions): Promise<TrainingResult> {
  const { folder, steps, step, save, log, signal, onProgress, keep = 2 } = options;
  const { logEvery = 10, checkpointEvery = 1000, task = "training" } = options;
  const { onNaN = "stop", limits = {} } = options;
  for (const [name, value] of Object.entries({ steps, logEvery, checkpointEvery })) {
    check(
      Number.isInteger(value) && value >= 1,
      () => `${name}: expected a whole number of at least 1, got ${value}. correct it`,
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
  let skipped = 0;
  let skippedInRow = 0;
  let due = false; // a checkpoint, which skipped steps put off
  if (latest) {
    const { pendingMetrics, skippedSteps, ...state } = (latest.state ?? {}) as SavedState;
    pending = pendingMetrics ?? {};
    [skipped, skippedInRow] = skippedSteps ?? [0, 0];
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
    const own: SavedState = {
      pendingMetrics: pending,
      ...(skipped && { skippedSteps: [skipped, skippedInRow] }),
    };
    checkpoint = await saveCheckpoint(folder, done, {
      tensors,
      state: { ...state, ...own },
      keep: skippedInRow ? keep + 1 : keep, // a last step that is skipped pushes no good one out
    });
    savedStep = done;
    due = false;
  };

  report(resumedFrom);
  for (let done = resumedFrom; done < steps; ) {
    if (signal?.aborted) {
      if (done > savedStep && !skippedInRow) await saveStep(done);
      const kept =
        done > savedStep
          ? `while skipping steps: the first ${savedStep} are saved`
          : "everything is saved";
      throw new AlignTokError(
        "aborted",
        `${task}: interrupted after step ${done} of ${steps}, ${kept} in ${folder}. call it again with the same folder to continue`,
        { cause: signal.reason },
      );
    }
    const result = await untilAborted(step(done), signal);
    if (!result) continue; // given up: the loop ends above
    done++;
    const { metrics, apply } = unpack(result);
    const bad = findBad(metrics, limits);
    skippedInRow = bad ? skippedInRow + 1 : 0;
    if (bad) {
      const skips = onNaN === "skip" && apply !== undefined;
      if (!skips || skippedInRow === mostSkipped) {
        throw diverged(bad, { where: `${task}: step ${done} of ${steps}`, skips, checkpoint });
      }
      skipped++;
      addMetrics(pending, { skipped: 1 });
    } else {
      apply?.();
      addMetrics(pending, metrics);
      if (onNaN === "skip") addMetrics(pending, { skipped: 0 }); // the line then shows their share
    }
    const last = done === steps;
    due ||= done % checkpointEvery === 0;
    const saves = last || (due && !skippedInRow);
    if (saves && options.evaluate) addMetrics(pending, await options.evaluate(done));
    // the line before the checkpoint: a kill in between repeats it, the other way round would lose it
    if (log && (last || done % logEvery === 0)) {
      log.write(done, meansOf(pending));
      pending = {};
    }
    if (saves) await saveStep(done);
    report(done, bad ? { skipped } : metrics);
    await setImmediate(); // lets Ctrl-C and timers in, which an engine that blocks would starve
  }
  return { resumedFrom, checkpoint: checkpoint!, skipped };
}

/** What the loop adds to the state of its caller. */
interface SavedState {
  readonly pendingMetrics?: Pending;
  /** In all, and the last ones in a row. */
  readonly skippedSteps?: readonly [number, number];
}

function unpack(result: StepResult): { readonly metrics: Metrics; readonly apply?: () => void } {
  return typeof result.apply === "function"
    ? (result as { metrics: Metrics; apply: () => void })
    : { metrics: result as Metrics };
}

/** What a step gives; nothing where it was given up because of the signal. */
async function untilAborted(
  step: StepResult | Promise<StepResult>,
  signal: AbortSignal | undefined,
): Promise<StepResult | undefined> {
  try {
    return await step;
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return undefined;
    throw error;
  }
}

interface BadMetric {
  readonly name: string;
  readonly value: number;
  readonly expected: string;
}

function findBad(
  metrics: Metrics,
  limits: Readonly<Record<string, number>>,
): BadMetric | undefined {
  for (const [name, value] of Object.entries(metrics)) {
    if (!Number.isFinite(value)) return { name, value, expected: `a finite ${name}` };
    const limit = limits[name];
    if (limit !== undefined && Math.abs(value) > limit) {
      return { name, value, expected: `${name} within ${limit}` };
    }
  }
  return undefined;
}

function diverged(
  { expected, value }: BadMetric,
  {
    where,
    skips,
    checkpoint,
  }: {
    readonly where: string;
    /** Whether such steps were left out until they became too many. */
    readonly skips: boolean;
    readonly checkpoint: string | undefined;
  },
): AlignTokError {
  const so = skips ? `; ${mostSkipped} steps in a row were skipped` : "";
  const good = checkpoint ? `the last good checkpoint is ${checkpoint}` : "no checkpoint yet";
  return new AlignTokError(
    "diverged",
    `${where}: expected ${expected}, got ${value}${so}. ${good}; lower the learning rate or clip the gradients`,
  );
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
