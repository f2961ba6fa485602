/** The linear probe as a command runs it: fit on one set of images, judged on another. */
import { check, createRandom, type NdArray } from "@aligntok/core";
import type { LinearProbe } from "@aligntok/eval-fid";
import { take } from "../run/take.ts";
import type { Session } from "../session.ts";

export interface LabelledRows {
  /** `(N, d)` float32. */
  readonly features: NdArray<"float32">;
  readonly labels: Int32Array;
}

export type ProbeSettings =
  | { readonly solver: "lbfgs"; readonly l2: number }
  | {
      readonly solver: "sgd";
      readonly rates: readonly number[];
      readonly epochs: number;
      readonly batch: number;
    };

/** Shares of right answers, 0 to 1. */
export interface ProbeScore {
  /** What the fit was set to: the penalty of L-BFGS, or the learning rate of SGD. */
  readonly setting: number;
  readonly trainTop1: number;
  readonly top1: number;
  /** Of more than five classes. */
  readonly top5?: number;
}

export interface ProbeResult {
  readonly classes: number;
  readonly width: number;
  readonly train: number;
  readonly test: number;
  readonly scores: readonly ProbeScore[];
  /** The first of those with the highest top-1 accuracy. */
  readonly best: ProbeScore;
}

/** Draws a share of the rows, at least one, to judge by; the rest is to fit. */
export function holdOut(
  { features, labels }: LabelledRows,
  { share, seed }: { readonly share: number; readonly seed: number },
): { readonly train: LabelledRows; readonly test: LabelledRows } {
  const count = labels.length;
  check(count >= 2, () => `probe: expected at least 2 images, got ${count}. give a file of more`);
  const held = Math.min(count - 1, Math.max(1, Math.round(share * count)));
  const order = [...createRandom(seed, "probe-split").permutation(count)];
  const pick = (places: readonly number[]): LabelledRows => ({
    features: take(features, places),
    labels: Int32Array.from(places, (place) => labels[place]!),
  });
  return { test: pick(order.slice(0, held)), train: pick(order.slice(held)) };
}

export async function runProbe(
  train: LabelledRows,
  test: LabelledRows,
  options: {
    readonly settings: ProbeSettings;
    readonly session: Pick<Session, "seed" | "signal" | "onProgress">;
  },
): Promise<ProbeResult> {
  const { settings, session } = options;
  const { computeTopAccuracy, fitLinearProbe, trainLinearProbes } = await import(
    "@aligntok/eval-fid"
  );
  const highest = (labels: Int32Array) => labels.reduce((a, b) => Math.max(a, b), 0);
  const classes = Math.max(highest(train.labels), highest(test.labels)) + 1;
  const { seed, signal, onProgress } = session;
  let probes: readonly (readonly [number, LinearProbe])[];
  if (settings.solver === "lbfgs") {
    const { l2 } = settings;
    probes = [[l2, fitLinearProbe(train.features, train.labels, { classes, l2 })]];
  } else {
    const { rates, epochs, batch: batchSize } = settings;
    const trained = await trainLinearProbes(train.features, train.labels, {
      ...{ classes, rates, epochs, batchSize, seed, signal, onProgress },
    });
    probes = trained.map((probe) => [probe.rate, probe]);
  }
  const scores = probes.map(([setting, probe]): ProbeScore => {
    const judged = probe.scores(test.features);
    return {
      setting,
      trainTop1: computeTopAccuracy(probe.scores(train.features), train.labels, { k: 1 }),
      top1: computeTopAccuracy(judged, test.labels, { k: 1 }),
      ...(classes > 5 && { top5: computeTopAccuracy(judged, test.labels, { k: 5 }) }),
    };
  });
  return {
    classes,
    width: train.features.shape[1]!,
    train: train.labels.length,
    test: test.labels.length,
    scores,
    best: scores.reduce((best, score) => (score.top1 > best.top1 ? score : best)),
  };
}

export function formatPercent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
