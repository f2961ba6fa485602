import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, check } from "@aligntok/core";
import { Command, Option } from "commander";
import { type BenchCase, type Suite, suites } from "../bench/case.ts";
import type { PeerResult, Row } from "../bench/race.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";

interface BenchOptions {
  readonly suite: Suite;
  readonly only?: string;
  readonly python?: string;
  readonly repeats: number;
  readonly measure?: string;
}

export function benchCommand(): Command {
  const command = new Command("bench")
    .summary("how fast models run and train here, against PyTorch and transformers.js")
    .description(
      "Measures how fast models run and train on this machine, and the memory that they take, in turns with PyTorch; how fast files become features with transformers.js, too.",
    )
    .addOption(
      new Option(
        "--suite <name>",
        "engine: what has a bar and takes seconds; encoders: features; train: models that are trained, what they generate; paper: steps of the stages at the paper's size; all",
      )
        .choices(suites)
        .default("engine"),
    )
    .option("--only <text>", "cases whose name contains this")
    .option("--python <path>", "a Python that has torch: runs the peer in the same call")
    .addOption(
      new Option("--repeats <n>", "timed runs of each case").argParser(wholeNumber(1)).default(9),
    )
    .addOption(new Option("--measure <case>", "a case in this process").hideHelp()) // see bench/measured-process.ts
    .addHelpText(
      "after",
      `
Weights are random, numbers float32 unless the case says otherwise. Each case runs in a process of its own.
ms: median of a run. ratio: times as fast as the peer, the peer taking its best variant. bar: ratio asked for.
t.js: transformers.js, for cases that encode files, where it is installed (npm i @huggingface/transformers) and --python
has torch, transformers and onnx, to export the same weights. These cases take 5 GB of the folder for temporary files.
of matmul: share of the rate of a large matrix product on this machine. MB: peak memory of the process.
compile ms: from the trace to the end of the first step, less a usual step.

Examples:
  aligntok bench
  aligntok bench --suite all --python python3
  aligntok bench --only vits14 --repeats 3 --threads 2 --json`,
    );
  return defineAction(command, runBench);
}

async function runBench(options: BenchOptions, session: Session): Promise<void> {
  const { threads = availableParallelism(), engine } = session;
  if (options.measure !== undefined) {
    const { runMeasuredProcess } = await import("../bench/measured-process.ts");
    return runMeasuredProcess(options.measure, { engine, threads });
  }
  const { signal, log, onProgress, answer } = session;
  const [{ selectCases }, { findPeer }, { findTransformersJs }, { runRace }, { formatTable }] =
    await Promise.all([
      import("../bench/cases.ts"),
      import("../bench/peer.ts"),
      import("../bench/transformers-js.ts"),
      import("../bench/race.ts"),
      import("../bench/table.ts"),
    ]);
  const { suite, only, repeats, python } = options;
  const found = selectCases(suite, only);
  check(
    !only || found.some(({ name }) => name.includes(only)),
    () =>
      `--only ${only}: expected a part of a name in suite ${suite}, got none of ${selectCases(suite)
        .map(({ name }) => name)
        .join(", ")}. try --suite all, or another name`,
  );
  const selected = found.filter(({ name, engines, reasonToSkip }) => {
    const reason =
      engines && !engines.includes(engine)
        ? `it runs on ${engines.join(", ")} only`
        : reasonToSkip?.();
    if (reason) log.info(`${name}: skipped, for ${reason}`);
    return !reason;
  });
  const peer = python === undefined ? undefined : await findPeer(python);
  const transformersJs = python === undefined ? undefined : findTransformersJs(python);
  if (peer && !transformersJs && selected.some(({ transformersJsBar }) => transformersJsBar)) {
    log.warn(
      "transformers.js: not installed. npm i @huggingface/transformers adds it to the table",
    );
  }
  const rows: Row[] = [];
  const failed: string[] = [];
  let machineRate: number | undefined;

  async function measure(item: BenchCase): Promise<void> {
    try {
      const plan = await item.writePlan?.(folder);
      const peers = { peer, transformersJs };
      const row = await runRace(item, { engine, threads, repeats, signal, plan, ...peers });
      const { ms, gflops } = row;
      if (item.family === "machine") machineRate = gflops;
      rows.push({
        ...row,
        ...(gflops && machineRate && { matmulShare: gflops / machineRate }),
      });
      const results: readonly PeerResult[] = [row, row.transformersJs ?? {}];
      const others = results.map(({ peerMs }) => (peerMs ? `, peer ${peerMs.toFixed(1)} ms` : ""));
      log.info(`${item.name}: ${ms.toFixed(1)} ms${others.join("")}`);
      for (const { peerError } of results) {
        if (peerError === undefined) continue;
        log.warn(`peer of ${item.name}: ${peerError}`);
        failed.push(`peer of ${item.name}`);
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warn(`${item.name}: ${error instanceof Error ? error.message : error}`);
      failed.push(item.name);
    }
  }

  const folder = await mkdtemp(join(tmpdir(), "aligntok-bench-"));
  try {
    for (const [done, item] of selected.entries()) {
      onProgress({ task: "bench", done, total: selected.length });
      await measure(item);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  onProgress({ task: "bench", done: selected.length, total: selected.length });
  const report = {
    machine: `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} cores`,
    threads,
    engine,
    node: process.version,
    ...(peer && { peer: peer.name }),
    ...(transformersJs && { transformersJs: transformersJs.name }),
    repeats,
    rows,
  };
  answer(
    [
      `${[report.machine, `${threads} threads`, engine, `node ${report.node}`, peer?.name, transformersJs?.name].filter(Boolean).join(", ")}, median of ${repeats}`,
      "",
      ...formatTable(rows),
    ],
    report,
  );
  if (failed.length > 0) {
    throw new AlignTokError(
      "unavailable",
      `bench: expected ${selected.length} cases, got no figures of ${failed.join(", ")}. see the warnings above`,
    );
  }
}
