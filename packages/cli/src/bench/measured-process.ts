/**
 * One case in a process of its own, so that its peak memory is the case's, at the orders of another process. A line of
 * JSON answers each line of standard input: `{parameters, compileMs, firstMs}` comes unasked when everything is
 * ready, `run N` gives `{ms: [...]}`, `end` gives `{rssMb}`. The peer's script speaks the same.
 */
import { createInterface } from "node:readline";
import { check } from "@aligntok/core";
import type { EngineOptions } from "./case.ts";
import { cases } from "./cases.ts";
import { timed } from "./stopwatch.ts";

export async function runMeasuredProcess(name: string, engine: EngineOptions): Promise<void> {
  const found = cases.find((item) => item.name === name);
  check(
    found,
    () => `--measure ${name}: expected the name of a case, got none. see aligntok bench --help`,
  );
  const { parameters, compileMs = 0, features, rssMb, run } = await found.prepare(engine);
  const { ms: firstMs } = await timed(run);
  await run();
  answer({ parameters, compileMs, firstMs, features });
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, count] = line.split(" ");
    if (order !== "run") break;
    const ms: number[] = [];
    for (let i = 0; i < Number(count); i++) ms.push((await timed(run)).ms);
    answer({ ms });
  }
  answer({ rssMb: rssMb?.() ?? process.resourceUsage().maxRSS / 1024 });
}

function answer(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
