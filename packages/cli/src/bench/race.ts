/** A case and its peers, run in turns where memory allows: machines change their speed from minute to minute. */
import { readFile } from "node:fs/promises";
import { AlignTokError } from "@aligntok/core";
import { packageFile } from "../version.ts";
import type { BenchCase, EngineOptions } from "./case.ts";
import { type Contestant, startContestant } from "./contestant.ts";
import { withPlan } from "./encode-plan.ts";
import type { Peer } from "./peer.ts";

/** How a peer did; empty where there is none. */
export interface PeerResult {
  /** The peer with what it chose for this case, its median in milliseconds, and how many times as long it took. */
  readonly peer?: string;
  readonly peerMs?: number;
  readonly ratio?: number;
  /** The ratio that is asked for. */
  readonly bar?: number;
  readonly peerRssMb?: number;
  /** Why the peer's figures are absent although there is a peer. */
  readonly peerError?: string;
}

/** The fields of `PeerResult` are PyTorch's. */
export interface Row extends PeerResult {
  readonly case: string;
  readonly what: string;
  /** Median of a run in milliseconds. */
  readonly ms: number;
  /** The second peer, of cases that encode files. */
  readonly transformersJs?: PeerResult;
  /** 10^9 operations a second in matrix products and convolutions, and their share of the machine's matmul rate. */
  readonly gflops?: number;
  readonly matmulShare?: number;
  /** Peak resident memory of the whole process, in MB of 2^20 bytes. */
  readonly rssMb: number;
  /** From the beginning of the trace to the end of the first run, less the time of a usual run. */
  readonly compileMs: number;
  readonly parameters: number;
}

export interface RaceOptions extends EngineOptions {
  readonly peer?: Peer | undefined;
  readonly transformersJs?: Peer | undefined;
  /** Path that `writePlan` of the case gave. */
  readonly plan?: string | undefined;
  /** Timed runs. */
  readonly repeats: number;
  readonly signal: AbortSignal;
}

const turns = 3;

/**
 * Measures a case, in turns with its peers where there are any; one after the other where the case asks for it.
 *
 * @throws AlignTokError `unavailable` where our own process fails; a peer that fails is told in the row
 */
export async function runRace(item: BenchCase, options: RaceOptions): Promise<Row> {
  const { bar, transformersJsBar, alone = false, apart = false } = item;
  const ours = await startOurs(item, options);
  const rivals: Rival[] = [];
  try {
    const join = async (peer: Peer | undefined, asked: number | undefined) => {
      const rival = await startRival(alone ? undefined : peer, { item, ours, asked, ...options });
      rivals.push(rival);
      return rival;
    };
    const times: number[] = [];
    const rssApart = apart ? await finish(ours, options.repeats, times) : undefined;
    const pytorch = await join(options.peer, bar);
    const second = transformersJsBar === undefined ? undefined : options.transformersJs;
    const transformersJs = await join(second, transformersJsBar);
    for (let turn = 0; turn < turns; turn++) {
      const count = Math.floor((options.repeats + turns - 1 - turn) / turns);
      if (count === 0) break;
      if (!apart) times.push(...(await ours.run(count)));
      for (const rival of rivals) await rival.run(count);
    }
    const { compileMs, firstMs, parameters } = ours.ready as Record<string, number>;
    const ms = median(times);
    const results = { ...(await pytorch.end(ms)) };
    return {
      case: item.name,
      what: item.what,
      ms,
      ...results,
      ...(second && { transformersJs: await transformersJs.end(ms) }),
      ...(item.gflop && { gflops: item.gflop / (ms / 1000) }),
      rssMb: rssApart ?? (await ours.end()),
      compileMs: Math.max(0, compileMs! + firstMs! - ms),
      parameters: parameters!,
    };
  } finally {
    ours.kill();
    for (const rival of rivals) rival.kill();
  }
}

/** All runs of a contestant and its end; its memory. */
async function finish(contestant: Contestant, count: number, times: number[]): Promise<number> {
  times.push(...(await contestant.run(count)));
  return contestant.end();
}

/** A peer at the start, which may fail at any time: the race goes on without it. */
interface Rival {
  run(count: number): Promise<void>;
  end(ms: number): Promise<PeerResult>;
  kill(): void;
}

async function startRival(
  peer: Peer | undefined,
  {
    item,
    ours,
    asked,
    ...options
  }: RaceOptions & {
    readonly item: BenchCase;
    readonly ours: Contestant;
    readonly asked: number | undefined;
  },
): Promise<Rival> {
  const bar = asked === undefined ? {} : { bar: asked };
  const times: number[] = [];
  let peerError: string | undefined;
  async function attempt<T>(work: () => Promise<T> | undefined): Promise<T | undefined> {
    if (peerError !== undefined) return undefined;
    try {
      return await work();
    } catch (error) {
      options.signal.throwIfAborted();
      peerError = error instanceof Error ? error.message : String(error);
      return undefined;
    }
  }

  const theirs = await attempt(() => peer?.start(item.name, options));
  await attempt(async () => theirs && checkTwin(item, ours, theirs));
  return {
    async run(count) {
      times.push(...((await attempt(() => theirs?.run(count))) ?? []));
    },
    async end(ms) {
      const peerRssMb = await attempt(() => theirs?.end());
      if (peerError !== undefined) return { ...bar, peerError };
      if (peerRssMb === undefined) return bar;
      const peerMs = median(times);
      const name = [peer!.name, theirs!.ready.variant].filter(Boolean).join(" ");
      return { peer: name, peerMs, ratio: peerMs / ms, ...bar, peerRssMb };
    },
    kill: () => theirs?.kill(),
  };
}

function startOurs({ name }: BenchCase, { engine, threads, signal, plan }: RaceOptions) {
  const command = ["bench", "--measure", name, "--engine", engine, "--threads", String(threads)];
  return startContestant(process.execPath, [packageFile("bin/aligntok.js"), ...command], {
    signal,
    env: withPlan(process.env, plan),
  });
}

/**
 * The peer's model has as many parameters as ours, its step as many operations as the case says, and its features are ours,
 * as far as they tell.
 */
async function checkTwin({ name, gflop }: BenchCase, ours: Contestant, theirs: Contestant) {
  const fail = (expected: string, got: string) => {
    throw new AlignTokError(
      "unavailable",
      `peer ${name}: expected ${expected}, got ${got}. its script computes something else`,
    );
  };
  const expect = (what: string, expected: unknown, got: unknown, tolerance: number) => {
    if (Math.abs(Number(got) - Number(expected)) <= tolerance * Number(expected)) return;
    fail(`${expected} ${what}`, String(got));
  };
  const { parameters, features } = theirs.ready;
  if (typeof features !== "string" || parameters !== undefined) {
    expect("parameters", ours.ready.parameters, parameters, 0);
  }
  if (gflop !== undefined) expect("GFLOP", gflop, theirs.ready.gflop, 0.01);
  if (typeof ours.ready.features !== "string") return;
  const difference = await differenceOf(ours.ready.features, String(features));
  if (!(difference <= 1e-3)) fail("features within 0.001 of ours", `${difference} from them`);
}

/** The largest between two files of float32 numbers; NaN for files of different lengths. */
async function differenceOf(a: string, b: string): Promise<number> {
  const [x, y] = await Promise.all([a, b].map(readFloats));
  if (x!.length !== y!.length) return Number.NaN;
  return x!.reduce((most, value, i) => Math.max(most, Math.abs(value - y![i]!)), 0);
}

async function readFloats(path: string): Promise<Float32Array> {
  return new Float32Array(new Uint8Array(await readFile(path)).buffer);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
