/** Learning rates as pure functions of the step, so that a resumed run needs no saved scheduler. */
import { check } from "@aligntok/core";

/** The learning rate of the step with that index, counted from 0. */
export type Schedule = (step: number) => number;

/** The same rate at every step. */
export function createConstantSchedule(lr: number): Schedule {
  return () => lr;
}

/**
 * Half a cosine from `lr` down to `minimum` over `steps`, then `minimum`
 * (torch.optim.lr_scheduler.CosineAnnealingLR with T_max = steps, except that it rises again afterwards).
 */
export function createCosineSchedule(
  lr: number,
  options: {
    readonly steps: number;
    /** @default 0 */
    readonly minimum?: number;
  },
): Schedule {
  const { steps, minimum = 0 } = options;
  check(
    steps > 0,
    () =>
      `cosine schedule: expected a positive number of steps, got ${steps}. give those of the whole training`,
  );
  return (step) =>
    minimum + ((lr - minimum) * (1 + Math.cos(Math.PI * Math.min(step / steps, 1)))) / 2;
}

/**
 * A straight line from `startFactor` times the schedule's first rate up to that rate over `steps`,
 * and the schedule from there: torch's LinearLR followed by another scheduler in SequentialLR.
 */
export function createWarmup(
  schedule: Schedule,
  options: {
    readonly steps: number;
    /** @default 0 */
    readonly startFactor?: number;
  },
): Schedule {
  const { steps, startFactor = 0 } = options;
  check(
    steps >= 0,
    () => `warm-up: expected a number of steps of at least 0, got ${steps}. 0 goes without`,
  );
  return (step) =>
    step < steps
      ? schedule(0) * (startFactor + ((1 - startFactor) * step) / steps)
      : schedule(step - steps);
}

export interface ScheduleOptions {
  /** What follows the warm-up: the same rate, or half a cosine down to `minimum`. @default "constant" */
  readonly shape?: "constant" | "cosine";
  /** Steps of the whole training, warm-up included: a cosine ends there. */
  readonly steps: number;
  /** Steps of a straight line up from 0. @default 0 */
  readonly warmup?: number;
  /** Rate at the end of a cosine. @default 0 */
  readonly minimum?: number;
}

/** The common schedules from plain settings, as a configuration file has them. */
export function createSchedule(lr: number, options: ScheduleOptions): Schedule {
  const { shape = "constant", steps, warmup = 0, minimum = 0 } = options;
  check(
    warmup >= 0 && warmup < steps,
    () =>
      `warm-up: expected fewer steps than the ${steps} in all, got ${warmup}. shorten it or train longer`,
  );
  const after =
    shape === "cosine"
      ? createCosineSchedule(lr, { steps: steps - warmup, minimum })
      : createConstantSchedule(lr);
  return warmup ? createWarmup(after, { steps: warmup }) : after;
}
