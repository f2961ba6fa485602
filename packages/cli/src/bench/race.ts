/** A case and its peer, run in turns: machines change their speed from minute to minute. */
import { AlignTokError } from "@aligntok/core";
import { packageFile } from "../version.ts";
import type { BenchCase, EngineOptions } from "./case.ts";
import { type Contestant, startContestant } from "./contestant.ts";
import type { Peer } from "./peer.ts";

export interface Row {
  readonly case: string;
  readonly what: string;
  /** Median of a run in milliseconds. */
  readonly ms: number;
  /** The peer with what it chose for this case, its median, and how many times as long it took. */
  readonly peer?: string;
  readonly peerMs?: number;
  readonly ratio?: number;
  /** The ratio that is asked for. */
  readonly bar?: number;
  /** 10^9 operations a second in matrix products and convolutions, and their share of the machine's matmul rate. */
  readonly gflops?: number;
  readonly matmulShare?: number;
  /** Peak resident memory of the whole process, in MB of 2^20 bytes. */
  readonly rssMb: number;
  readonly peerRssMb?: number;
  /** From the beginning of the trace to the end of the first run, less the time of a usual run. */
  readonly compileMs: number;
  readonly parameters: number;
  /** Why the peer's columns are absent although there is a peer. */
  readonly peerError?: string;
}

export interface RaceOptions extends EngineOptions {
  readonly peer?: Peer;
  /** Timed runs. */
  readonly repeats: number;
  readonly signal: AbortSignal;
}

const turns = 3;

/**
 * Measures a case, in turns with its peer where there is one.
 *
 * @throws AlignTokError `unavailable` where our own process fails; a peer that fails is told in the row
 */
export async function runRace(item: BenchCase, options: RaceOptions): Promise<Row> {
  const { peer, repeats, signal } = options;
  let peerError: string | undefined;
  /** What the peer does, unless it fails or has failed. */
  async function attempt<T>(work: () => Promise<T> | undefined): Promise<T | undefined> {
    if (peerError !== undefined) return undefined;
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      peerError = error instanceof Error ? error.message : String(error);
      return undefined;
    }
  }

  const ours = await startOurs(item, options);
  let theirs: Contestant | undefined;
  try {
    theirs = await attempt(() => peer?.start(item.name, options));
    await attempt(async () => theirs && checkTwin(item, ours, theirs));
    const [times, peerTimes]: [number[], number[]] = [[], []];
    for (let turn = 0; turn < turns; turn++) {
      const count = Math.floor((repeats + turns - 1 - turn) / turns);
      if (count === 0) break;
      times.push(...(await ours.run(count)));
      peerTimes.push(...((await attempt(() => theirs?.run(count))) ?? []));
    }
    const peerRssMb = await attempt(() => theirs?.end());
    const { compileMs, firstMs, parameters } = ours.ready as Record<string, number>;
    const ms = median(times);
    return {
      case: item.name,
      what: item.what,
      ms,
      ...(item.bar !== undefined && { bar: item.bar }),
      ...(item.gflop && { gflops: item.gflop / (ms / 1000) }),
      rssMb: await ours.end(),
      compileMs: Math.max(0, compileMs! + firstMs! - ms),
      parameters: parameters!,
      ...(peerRssMb !== undefined && {
        peer: [peer!.name, theirs!.ready.variant].filter(Boolean).join(" "),
        peerMs: median(peerTimes),
        ratio: median(peerTimes) / ms,
        peerRssMb,
      }),
      ...(peerError !== undefined && { peerError }),
    };
  } finally {
    ours.kill();
    theirs?.kill();
  }
}

function startOurs({ name }: BenchCase, { engine, threads, signal }: RaceOptions) {
  const command = ["bench", "--measure", name, "--engine", engine, "--threads", String(threads)];
  return startContestant(process.execPath, [packageFile("bin/aligntok.js"), ...command], {
    signal,
  });
}

/** The peer's model has as many parameters as ours, and its step as many operations as the case says. */
function checkTwin({ name, gflop }: BenchCase, ours: Contestant, theirs: Contestant): void {
  const expect = (what: string, expected: unknown, got: unknown, tolerance: number) => {
    if (Math.abs(Number(got) - Number(expected)) <= tolerance * Number(expected)) return;
    throw new AlignTokError(
      "unavailable",
      `peer ${name}: expected ${expected} ${what}, got ${got}. its script computes something else`,
    );
  };
  expect("parameters", ours.ready.parameters, theirs.ready.parameters, 0);
  if (gflop !== undefined) expect("GFLOP", gflop, theirs.ready.gflop, 0.01);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
