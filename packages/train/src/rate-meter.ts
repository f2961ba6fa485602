/** How fast something goes and when it will be done. Times are given, never taken, so results are testable. */
export interface RateMeter {
  /** Reports that `done` units are done at a time in seconds on any clock that does not run backwards. */
  update(done: number, seconds: number): Rate;
}

export interface Rate {
  /** Units per second over the window; undefined until time has passed. */
  readonly rate: number | undefined;
  /** Seconds until `total` at that rate; undefined where the rate or the total is. */
  readonly eta: number | undefined;
}

/** A meter over a sliding window of updates, so that a slow start or a pause is soon forgotten. */
export function createRateMeter(
  options: {
    /** Units in all. @default unknown */
    readonly total?: number;
    /** Updates to look back. @default 50 */
    readonly window?: number;
  } = {},
): RateMeter {
  const { total, window = 50 } = options;
  const updates: { done: number; seconds: number }[] = [];
  return {
    update(done, seconds) {
      updates.push({ done, seconds });
      if (updates.length > window + 1) updates.shift();
      const oldest = updates[0]!;
      const elapsed = seconds - oldest.seconds;
      const rate = elapsed > 0 ? (done - oldest.done) / elapsed : undefined;
      const eta = rate && total !== undefined ? Math.max(0, total - done) / rate : undefined;
      return { rate, eta };
    },
  };
}
